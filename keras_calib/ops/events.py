"""Predicted probabilities of events and their outcomes, which bins sum up."""

from __future__ import annotations

from functools import cached_property

from keras_calib.ops.binning import NUM_FINE_BINS, bin_index, bin_sums, fine_index
from keras_calib.ops.calibration import BinSums
from keras_calib.ops.floats import alike, cast, dtype_name, namespace
from keras_calib.types import Tensor


class Events:
    """N probabilities of an event, such as "the label is k", and the outcomes.

    The arguments are tensors, or numpy arrays, whose sums are float64 arrays.

    Args:
        confidence: probabilities of shape (N,).
        hit: whether the event happened, boolean, or a fraction, of shape (N,).
        sample_weight: weights of shape (N,), or `None` where all are 1.
        precision: the dtype in which the probabilities were computed.
        group: int32 groups of shape (N,), such as classes, each of which has its own
            bins; by default there is one group.
        num_groups: the number of groups.
    """

    def __init__(
        self,
        confidence: Tensor,
        hit: Tensor,
        sample_weight: Tensor | None = None,
        *,
        precision: str,
        group: Tensor | None = None,
        num_groups: int = 1,
    ) -> None:
        if sample_weight is not None:
            sample_weight = alike(sample_weight, confidence)
            # A sample of weight 0 may be NaN.
            where = namespace(confidence).where
            confidence = where(sample_weight != 0.0, confidence, 0.0)
        self.confidence, self.hit = confidence, hit
        self.sample_weight = sample_weight
        self.precision, self.group, self.num_groups = precision, group, num_groups
        self._sums: dict[int | None, BinSums] = {}

    @classmethod
    def by_column(
        cls, p: Tensor, y: Tensor, sample_weight: Tensor | None, precision: str
    ) -> Events:
        """Returns N * K events, one group for each column of probabilities (N, K)."""
        xp, k = namespace(p), p.shape[-1]
        if sample_weight is not None:
            if len(sample_weight.shape) == 1:
                sample_weight = xp.expand_dims(sample_weight, -1)
            sample_weight = xp.broadcast_to(sample_weight, xp.shape(p))
            sample_weight = xp.reshape(sample_weight, (-1,))
        group = xp.broadcast_to(xp.arange(k, dtype="int32"), xp.shape(p))
        return cls(
            xp.reshape(p, (-1,)),
            xp.reshape(y, (-1,)),
            sample_weight,
            precision=precision,
            group=xp.reshape(group, (-1,)),
            num_groups=k,
        )

    def at_least(self, threshold: float) -> Events:
        """Returns the events of probability >= `threshold`."""
        weight = cast(self.confidence >= threshold, dtype_name(self.confidence))
        if self.sample_weight is not None:
            weight = self.sample_weight * weight
        return Events(
            self.confidence,
            self.hit,
            weight,
            precision=self.precision,
            group=self.group,
            num_groups=self.num_groups,
        )

    @cached_property
    def terms(self) -> BinSums:
        """What each event adds to the sums of its bin, each of shape (N,)."""
        error = self.confidence - cast(self.hit, dtype_name(self.confidence))
        return BinSums(
            *weighted(self.sample_weight, self.confidence, self.hit, error * error)
        )

    def sums(self, num_bins: int | None) -> BinSums:
        """Returns the sums over M bins, of shape (M,), or (groups, M) with groups.

        Args:
            num_bins: the number of equal-width bins, `None` for fine bins.
        """
        if num_bins == 1 and self._sums and self.group is None:
            # The sum over all samples is that over the bins of another metric.
            sums = next(iter(self._sums.values()))
            return sums.map(lambda x: namespace(x).sum(x, axis=0, keepdims=True))
        if num_bins not in self._sums:
            self._sums[num_bins] = self._summed(num_bins)
        return self._sums[num_bins]

    def _summed(self, num_bins: int | None) -> BinSums:
        xp, dtype = namespace(self.confidence), dtype_name(self.confidence)
        if num_bins is None:
            count, index = NUM_FINE_BINS, fine_index(self.confidence)
        else:
            count = num_bins
            index = bin_index(self.confidence, num_bins, self.precision)
        shape: tuple[int, ...] = (count,)
        if self.group is not None:
            index, shape = self.group * count + index, (self.num_groups, count)
        # Probabilities are at most 1, so no product exceeds the largest weight.
        bound = (
            1.0
            if self.sample_weight is None
            else xp.max(xp.abs(self.sample_weight), initial=0.0)
        )
        sums = bin_sums(list(self.terms), index, self.num_groups * count, bound)
        return BinSums(*(xp.reshape(cast(s, dtype), shape) for s in sums))


def weighted(sample_weight: Tensor | None, *values: Tensor) -> list[Tensor]:
    """Returns the weights, and weight * value for each of the values.

    A sample of weight 0 is ignored, even where its value is NaN.

    Args:
        sample_weight: weights of shape (N,), or `None` where all are 1.
        *values: tensors of shape (N, ...). Boolean ones stay boolean without weights.
    """
    first, xp = values[0], namespace(values[0])
    values = tuple(alike(value, first) for value in values)
    if sample_weight is None:
        return [xp.ones(xp.shape(first)[:1], dtype="bool"), *values]
    sample_weight = alike(sample_weight, first)
    dtype = dtype_name(sample_weight)

    def times(value: Tensor) -> Tensor:
        w = xp.reshape(sample_weight, (-1, *(1 for _ in value.shape[1:])))
        return xp.where(w != 0.0, w * cast(value, dtype), 0.0)

    return [sample_weight, *(times(value) for value in values)]
