"""Predicted probabilities of events and their outcomes, which bins sum up."""

from __future__ import annotations

from keras_calib.ops.binning import NUM_FINE_BINS, bin_index, fine_index
from keras_calib.ops.calibration import BinSums
from keras_calib.ops.floats import alike, cast, dtype_name, namespace
from keras_calib.ops.sums import bin_sums
from keras_calib.types import Tensor


class Events:
    """N probabilities of an event, such as "the label is k", and the outcomes.

    The arguments are tensors, or numpy arrays, whose sums are float64 arrays.

    Args:
        confidence: probabilities of shape (N,); or of shape (N, G) for G groups, such
            as classes, each of which has its own bins.
        hit: whether the event happened, boolean, or a fraction, of the same shape.
        sample_weight: weights of the same shape or of shape (N,), or `None` where all
            are 1.
        precision: the dtype in which the probabilities were computed.
    """

    def __init__(
        self,
        confidence: Tensor,
        hit: Tensor,
        sample_weight: Tensor | None = None,
        *,
        precision: str,
    ) -> None:
        if sample_weight is not None:
            xp, sample_weight = namespace(confidence), alike(sample_weight, confidence)
            if len(sample_weight.shape) < len(confidence.shape):
                column = xp.expand_dims(sample_weight, -1)
                sample_weight = xp.broadcast_to(column, xp.shape(confidence))
            # A sample of weight 0 may be NaN.
            confidence = xp.where(sample_weight != 0.0, confidence, 0.0)
        self.confidence, self.hit = confidence, alike(hit, confidence)
        self.sample_weight, self.precision = sample_weight, precision
        self._groups = tuple(confidence.shape[1:])
        self._sums: dict[tuple[int | None, bool], BinSums] = {}

    def at_least(self, threshold: float) -> Events:
        """Returns the events of probability >= `threshold`."""
        below = self.confidence < threshold  # False for NaN, which counts
        weight = 1.0 - cast(below, dtype_name(self.confidence))
        if self.sample_weight is not None:
            weight = self.sample_weight * weight
        return Events(self.confidence, self.hit, weight, precision=self.precision)

    def terms(self, *, squares: bool = True) -> list[Tensor | None]:
        """Returns what each event adds to the `BinSums` of its bin, see `weighted`."""
        values = [self.confidence, self.hit]
        if squares:
            error = self.confidence - cast(self.hit, dtype_name(self.confidence))
            values.append(error * error)
        return weighted(self.sample_weight, *values)

    def sums(self, num_bins: int | None, *, squares: bool = True) -> BinSums:
        """Returns the sums over M bins, of shape (M,), or (G, M) with groups.

        Args:
            num_bins: the number of equal-width bins, `None` for fine bins.
            squares: whether squared errors are summed.
        """
        known = {
            bins: sums
            for (bins, squared), sums in self._sums.items()
            if squared or not squares
        }
        if num_bins in known:
            found = known[num_bins]
        elif num_bins == 1 and known and not self._groups:
            # The sum over all samples is the sum over the bins of another metric.
            sums = next(iter(known.values()))
            found = sums.map(lambda x: namespace(x).sum(x, axis=0, keepdims=True))
        else:
            found = self._summed(num_bins, squares)
            self._sums[num_bins, squares] = found
        return found if squares else found._replace(squared_error=None)

    def _summed(self, num_bins: int | None, squares: bool) -> BinSums:
        xp = namespace(self.confidence)
        if num_bins is None:
            count, index = NUM_FINE_BINS, fine_index(self.confidence)
        else:
            count = num_bins
            index = bin_index(self.confidence, num_bins, self.precision)
        # Probabilities are at most 1, so no product exceeds the largest weight.
        bound = (
            1.0
            if self.sample_weight is None
            else xp.max(xp.abs(self.sample_weight), initial=0.0)
        )
        columns = self.terms(squares=squares)
        return BinSums(*bin_sums(columns, index, count, bound))


def weighted(sample_weight: Tensor | None, *values: Tensor) -> list[Tensor | None]:
    """Returns the weights, and weight * value for each of the values.

    A sample of weight 0 is ignored, even where its value is NaN. Without weights, they
    and boolean values stay as they are: `bin_sums` counts them.

    Args:
        sample_weight: weights of shape (N,) or that of the values, or `None` where all
            are 1.
        *values: tensors of shape (N, ...).
    """
    first, xp = values[0], namespace(values[0])
    values = tuple(alike(value, first) for value in values)
    if sample_weight is None:
        return [None, *values]
    sample_weight = alike(sample_weight, first)
    dtype = dtype_name(sample_weight)

    def times(value: Tensor) -> Tensor:
        w, missing = sample_weight, len(value.shape) - len(sample_weight.shape)
        w = xp.reshape(w, (*xp.shape(w), *(1 for _ in range(missing))))
        return xp.where(w != 0.0, w * cast(value, dtype), 0.0)

    return [sample_weight, *(times(value) for value in values)]
