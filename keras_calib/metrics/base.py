"""What every metric here shares: reading a batch, and sums as state."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_calib.config import Configurable
from keras_calib.metrics.compensated import CompensatedSum
from keras_calib.metrics.statistics import BinStatistics
from keras_calib.ops.binning import bin_index, bin_sums
from keras_calib.ops.predictions import Predictions


class CalibrationMetric(Configurable, keras.metrics.Metric):
    """Base of the metrics. A subclass gives `accumulate` and `result`.

    Args:
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` keeps state and arithmetic in float64; anything else,
            half precision too, is float32.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.from_logits = bool(from_logits)
        self.ignore_class = ignore_class
        self._direction = "down"  # what is better, for callbacks and tuners

    @property
    def state_dtype(self) -> str:
        """The dtype of state and arithmetic."""
        return "float64" if self.dtype == "float64" else "float32"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes in a batch.

        Args:
            y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of
                shape `(..., K)`.
            y_pred: logits or probabilities of shape `(..., K)`. A Keras mask on it
                counts.
            sample_weight: weights of shape `(...)` or of its leading axes.
        """
        self.accumulate(
            Predictions(
                y_true,
                y_pred,
                sample_weight,
                from_logits=self.from_logits,
                ignore_class=self.ignore_class,
                dtype=self.state_dtype,
            )
        )

    def accumulate(self, batch: Predictions) -> None:
        """Adds a batch to the state."""
        raise NotImplementedError


class MeanMetric(CalibrationMetric):
    """Base of the weighted means of one value a sample, given by `values`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sums = CompensatedSum(self, (2,))

    def values(self, batch: Predictions) -> Any:
        """Returns the values of the samples, of shape (N,)."""
        raise NotImplementedError

    def accumulate(self, batch: Predictions) -> None:
        """Adds weights and weighted values."""
        self._sums.add(_column_sums(batch.weighted(self.values(batch))))

    def result(self) -> Any:
        """Returns the mean, 0 where there is no weight."""
        weight, total = ops.unstack(self._sums.tensor(), 2)
        return ops.divide_no_nan(total, weight)


class BinnedMetric(CalibrationMetric):
    """Base of the metrics of top-label confidence over equal-width bins."""

    def __init__(self, num_bins: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(num_bins, int) or num_bins < 1:
            raise ValueError(
                f"`num_bins` must be a whole number >= 1. Received: {num_bins!r}"
            )
        self.num_bins = num_bins
        self._sums = CompensatedSum(self, (num_bins, 4))

    def accumulate(self, batch: Predictions) -> None:
        """Adds weight, confidence, hits and squared error to the bins."""
        error = ops.square(batch.confidence - batch.hit)
        columns = batch.weighted(batch.confidence, batch.hit, error)
        index = bin_index(batch.confidence, self.num_bins)
        self._sums.add(bin_sums(index, columns, self.num_bins))

    def statistics(self) -> BinStatistics:
        """Returns what has been seen, as float64 numpy arrays that add up."""
        return BinStatistics(*self._sums.numpy().T)

    def bins(self) -> tuple[Any, Any, Any]:
        """Returns weight, sum of confidence and sum of hits of each bin."""
        return tuple(ops.unstack(self._sums.tensor(), 4, axis=-1)[:3])


def _column_sums(columns: Any) -> Any:
    index = ops.zeros(ops.shape(columns)[:1], dtype="int32")
    return bin_sums(index, columns, 1)[0]
