"""Probabilities that something happens, and whether it did: what bins sum up."""

from __future__ import annotations

from functools import cached_property

from keras import ops

from keras_calib.ops.binning import NUM_FINE_BINS, bin_index, bin_sums, fine_index
from keras_calib.types import Tensor


class Events:
    """N probabilities that something happens, and whether it did.

    Args:
        confidence: probabilities of shape (N,).
        hit: whether it happened, boolean, or a fraction, of shape (N,).
        sample_weight: weights of shape (N,), or `None` where all are 1.
        precision: the dtype that the probabilities were computed in.
        group: int32 groups of shape (N,), such as classes, that have bins of their
            own; by default there is one group.
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
            # A sample of weight 0 may be NaN.
            confidence = ops.where(sample_weight != 0.0, confidence, 0.0)
        self.confidence, self.hit = confidence, hit
        self.sample_weight = sample_weight
        self.precision, self.group, self.num_groups = precision, group, num_groups
        self._sums: dict[int | None, Tensor] = {}

    @classmethod
    def by_column(
        cls, p: Tensor, y: Tensor, sample_weight: Tensor | None, precision: str
    ) -> Events:
        """Returns N * K events, in a group for each column of probabilities (N, K)."""
        k = p.shape[-1]
        if sample_weight is not None:
            if len(sample_weight.shape) == 1:
                sample_weight = ops.expand_dims(sample_weight, -1)
            sample_weight = ops.broadcast_to(sample_weight, ops.shape(p))
            sample_weight = ops.reshape(sample_weight, (-1,))
        group = ops.broadcast_to(ops.arange(k, dtype="int32"), ops.shape(p))
        return cls(
            ops.reshape(p, (-1,)),
            ops.reshape(y, (-1,)),
            sample_weight,
            precision=precision,
            group=ops.reshape(group, (-1,)),
            num_groups=k,
        )

    def at_least(self, threshold: float) -> Events:
        """Returns the events of probability >= `threshold`."""
        counts = ops.cast(self.confidence >= threshold, self.confidence.dtype)
        if self.sample_weight is not None:
            counts = self.sample_weight * counts
        return Events(
            self.confidence,
            self.hit,
            counts,
            precision=self.precision,
            group=self.group,
            num_groups=self.num_groups,
        )

    @cached_property
    def columns(self) -> list[Tensor]:
        """The columns of `BinSums`: weight, confidence, hits and squared error."""
        hit = ops.cast(self.hit, self.confidence.dtype)
        error = ops.square(self.confidence - hit)
        return weighted(self.sample_weight, self.confidence, self.hit, error)

    def sums(self, num_bins: int | None) -> Tensor:
        """Returns the sums over each bin, of shape (groups * M, 4).

        Args:
            num_bins: the number of equal-width bins, `None` for fine bins.

        Returns:
            A tensor whose last axis holds the fields of `BinSums`.
        """
        if num_bins == 1 and self._sums and self.group is None:
            # The sum over all samples is that over the bins of another metric.
            return ops.sum(next(iter(self._sums.values())), axis=0, keepdims=True)
        if num_bins not in self._sums:
            if num_bins is None:
                count, index = NUM_FINE_BINS, fine_index(self.confidence)
            else:
                count = num_bins
                index = bin_index(self.confidence, num_bins, self.precision)
            if self.group is not None:
                index = self.group * count + index
            # Probabilities are at most 1, so no product exceeds the largest weight.
            bound = (
                1.0
                if self.sample_weight is None
                else ops.max(ops.abs(self.sample_weight), initial=0.0)
            )
            sums = bin_sums(self.columns, index, self.num_groups * count, bound)
            dtype = self.confidence.dtype
            self._sums[num_bins] = ops.stack([ops.cast(s, dtype) for s in sums], -1)
        return self._sums[num_bins]


def weighted(sample_weight: Tensor | None, *values: Tensor) -> list[Tensor]:
    """Returns the columns weight and weight * value of each of the values.

    A sample of weight 0 counts for nothing, even where its value is NaN.

    Args:
        sample_weight: weights of shape (N,), or `None` where all are 1.
        *values: tensors of shape (N, ...). Boolean ones stay boolean without weights.
    """
    if sample_weight is None:
        return [ops.ones(ops.shape(values[0])[:1], dtype="bool"), *values]

    def times(value: Tensor) -> Tensor:
        shape = (-1, *(1 for _ in value.shape[1:]))
        w = ops.reshape(sample_weight, shape)
        return ops.where(w != 0, w * ops.cast(value, sample_weight.dtype), 0.0)

    return [sample_weight, *(times(value) for value in values)]
