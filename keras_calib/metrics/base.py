"""What every metric here shares: reading a batch, and sums as state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.arguments import Configurable
from keras_calib.metrics.compensated import CompensatedSum
from keras_calib.metrics.statistics import BinStatistics
from keras_calib.ops.binning import (
    NUM_FINE_BINS,
    bin_sums,
    equal_width_edges,
    fine_edges,
)
from keras_calib.ops.floats import divide_no_nan, last_mean
from keras_calib.ops.predictions import Events, Predictions, weighted


class CalibrationMetric(Configurable, keras.metrics.Metric, ABC):
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
        self._direction: str | None = "down"  # what is better, for callbacks and tuners

    @property
    def state_dtype(self) -> str:
        """The dtype of state and arithmetic."""
        return "float64" if self.dtype == "float64" else "float32"

    def reader(self, y_pred: Any) -> type:
        """Returns the class that reads a batch of such predictions."""
        return Predictions

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes in a batch.

        Args:
            y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of
                shape `(..., K)`.
            y_pred: logits or probabilities of shape `(..., K)`. A Keras mask on it
                counts; Keras loses it in `fit` on JAX, where `ignore_class` serves.
            sample_weight: weights of shape `(...)` or of its leading axes.
        """
        y_pred = ops.convert_to_tensor(y_pred) if isinstance(y_pred, list) else y_pred
        self.accumulate(
            self.reader(y_pred)(
                y_true,
                y_pred,
                sample_weight,
                from_logits=self.from_logits,
                ignore_class=self.ignore_class,
                dtype=self.state_dtype,
            )
        )

    @abstractmethod
    def accumulate(self, batch: Any) -> None:
        """Adds a batch to the state."""


class MeanMetric(CalibrationMetric):
    """Base of the weighted means of one value a sample, given by `values`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sums = CompensatedSum(self, (2,))

    @abstractmethod
    def values(self, batch: Any) -> Any:
        """Returns the values of the samples, of shape (N,)."""

    def accumulate(self, batch: Any) -> None:
        """Adds weights and weighted values."""
        values = self.values(batch)
        sums = bin_sums(weighted(batch.weight, values))
        self._sums.add(ops.concatenate([ops.cast(s, values.dtype) for s in sums]))

    def result(self) -> Any:
        """Returns the mean, 0 where there is no weight."""
        weight, total = ops.unstack(self._sums.tensor(), 2)
        return divide_no_nan(total, weight)


class BinnedMetric(CalibrationMetric):
    """Base of the metrics of events over bins: `events` says which.

    Args:
        num_bins: the number of equal-width bins, or `None` for fine bins.
        **kwargs: arguments of `CalibrationMetric`.
    """

    def __init__(self, num_bins: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._bins = None if num_bins is None else whole_number("num_bins", num_bins)
        self._sums = CompensatedSum(self, (self._bins or NUM_FINE_BINS, 4))

    def events(self, batch: Any) -> Events:
        """Returns probabilities and what came out; here those of the top label."""
        return batch.top_label

    def accumulate(self, batch: Any) -> None:
        """Adds weight, confidence, hits and squared error to the bins."""
        self._sums.add(self.events(batch).sums(self._bins))

    def statistics(self) -> BinStatistics:
        """Returns what has been seen, as float64 numpy arrays that add up."""
        edges = equal_width_edges(self._bins) if self._bins else fine_edges()
        return BinStatistics(*self._sums.numpy().T, edges=edges)


class RankedMetric(BinnedMetric):
    """Base of the metrics that depend on the order of confidences.

    They stream through 4608 fine bins, each at most 1/128 as wide as its distance
    from the nearer of 0 and 1. A subclass gives `of_cells`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(None, **kwargs)

    @abstractmethod
    def of_cells(self, cells: Any) -> Any:
        """Returns the figure of sums over cells in rising order of confidence."""

    def result(self) -> Any:
        """Returns the figure, 0 where there is no weight."""
        return ops.cast(self.of_cells(self._sums.double()), self.state_dtype)


class GroupedMetric(CalibrationMetric):
    """Base of the means over groups, such as classes, of an error over bins.

    The number of groups is read off the first batch.

    Args:
        num_bins: the number of equal-width bins of each group.
        **kwargs: arguments of `CalibrationMetric`.
    """

    def __init__(self, num_bins: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_bins = whole_number("num_bins", num_bins)
        self._sums: CompensatedSum | None = None

    @abstractmethod
    def events(self, batch: Any) -> Events:
        """Returns probabilities and what came out, with their groups."""

    def accumulate(self, batch: Any) -> None:
        """Adds weight, confidence, hits and squared error to the bins."""
        events = self.events(batch)
        rows = events.num_groups * self.num_bins
        if self._sums is None:
            self._sums = CompensatedSum(self, (rows, 4))
        if self._sums.high.shape[0] != rows:
            raise ValueError(
                f"{self.name} has seen {self._sums.high.shape[0] // self.num_bins} "
                f"columns of predictions. Received: {events.num_groups}"
            )
        self._sums.add(events.sums(self.num_bins))

    def statistics(self) -> list[BinStatistics]:
        """Returns what has been seen of each group, as `BinStatistics`."""
        if self._sums is None:
            return []
        sums = self._sums.numpy().reshape(-1, self.num_bins, 4)
        return [BinStatistics(*group.T) for group in sums]

    def per_group(self) -> Any:
        """Returns the l1 error of each group, of shape (groups,)."""
        if self._sums is None:
            return ops.zeros((0,), dtype=self.state_dtype)
        sums = ops.reshape(self._sums.tensor(), (-1, self.num_bins, 4))
        gap = ops.sum(ops.abs(sums[:, :, 1] - sums[:, :, 2]), axis=1)
        return divide_no_nan(gap, ops.sum(sums[:, :, 0], axis=1))

    def result(self) -> Any:
        """Returns the mean over groups, in [0, 1]."""
        if self._sums is None:
            return ops.zeros((), dtype=self.state_dtype)
        return last_mean(self.per_group())


def binned_error(sums: Any, norm: str) -> Any:
    """Returns the calibration error of sums over bins, of shape (M, 4)."""
    weight, confidence, hits = ops.unstack(sums[:, :3], 3, axis=-1)
    gap = ops.abs(confidence - hits)
    if norm == "max":
        return ops.max(divide_no_nan(gap, weight))
    if norm == "l1":
        return divide_no_nan(ops.sum(gap), ops.sum(weight))
    squares = ops.sum(gap * divide_no_nan(gap, weight))
    return ops.sqrt(divide_no_nan(squares, ops.sum(weight)))


def whole_number(name: str, value: Any) -> int:
    """Returns a whole number >= 1, or says what was given."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` must be a whole number >= 1. Received: {value!r}")
    return int(value)
