"""What every metric shares: reading a batch, and sums as state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypedDict, Unpack

import keras
from keras import ops

from keras_calib._keras import set_direction
from keras_calib.arguments import Configurable, default_name, whole_number
from keras_calib.metrics.bin_statistics import BinStatistics
from keras_calib.metrics.compensated import CompensatedSum
from keras_calib.ops.bin_statistics import BinSums, calibration_error
from keras_calib.ops.binary_batch import BinaryBatch
from keras_calib.ops.binning import (
    NUM_FINE_BINS,
    bin_sums,
    equal_width_edges,
    fine_edges,
)
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import Events, weighted
from keras_calib.ops.floats import divide_no_nan, last_mean
from keras_calib.types import Tensor

# The fields of `BinSums`.
_COLUMNS = len(BinSums._fields)


class MetricArguments(TypedDict, total=False):
    """The arguments of every metric."""

    from_logits: bool
    ignore_class: int | None
    axis: int
    name: str | None
    dtype: Any


class CalibrationMetric(Configurable, keras.metrics.Metric, ABC):
    """Base of the metrics. A subclass gives `accumulate` and `result`.

    Args:
        from_logits: whether `y_pred` are logits.
        ignore_class: integer label whose samples count for nothing.
        axis: the axis of the classes in `y_pred`, and in targets.
        name: name in the logs; by default the name of the class in snake case.
        dtype: `"float64"` for state and arithmetic in float64; anything else, half
            precision included, means float32.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or one-hot or soft
            targets of shape `(..., K)`. A soft target is a hit to the degree that it
            names the predicted class.
        y_pred: logits or probabilities of shape `(..., K)`, K >= 2. A Keras mask on
            them counts; Keras loses it in `fit` on JAX, where `ignore_class` serves.
        sample_weight: weights of shape `(...)` or of its leading axes.

    Raises:
        ValueError: for arguments out of range, and for shapes that do not fit.
    """

    # What callbacks and tuners take for better: "up", "down", or None for neither.
    direction: str | None = "down"

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or default_name(type(self)), dtype=dtype)
        self.from_logits = bool(from_logits)
        if ignore_class is not None:
            whole_number("ignore_class", ignore_class, low=-float("inf"))
        self.ignore_class = ignore_class
        self.axis = whole_number("axis", axis, low=-float("inf"))
        set_direction(self, self.direction)

    @property
    def state_dtype(self) -> str:
        """The dtype of state and arithmetic."""
        return "float64" if self.dtype == "float64" else "float32"

    def reader(self, y_pred: Tensor) -> type[ClassBatch] | type[BinaryBatch]:
        """Returns the class that reads a batch of such predictions."""
        return ClassBatch

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Adds a batch; see the call arguments of the class."""
        y_pred = ops.convert_to_tensor(y_pred)
        self.accumulate(
            self.reader(y_pred)(
                y_true,
                y_pred,
                sample_weight,
                from_logits=self.from_logits,
                ignore_class=self.ignore_class,
                axis=self.axis,
                dtype=self.state_dtype,
            )
        )

    @abstractmethod
    def accumulate(self, batch: Any) -> None:
        """Adds a batch to the state."""


class MeanMetric(CalibrationMetric):
    """Base of the weighted means of one value a sample. A subclass gives `values`."""

    def __init__(self, **kwargs: Unpack[MetricArguments]) -> None:
        super().__init__(**kwargs)
        self._sums = CompensatedSum(self, (2,))

    @abstractmethod
    def values(self, batch: Any) -> Tensor:
        """Returns the values of the samples, of shape (N,)."""

    def accumulate(self, batch: Any) -> None:
        """Adds weights and weighted values."""
        values = self.values(batch)
        sums = bin_sums(weighted(batch.sample_weight, values))
        self._sums.add(ops.concatenate([ops.cast(s, values.dtype) for s in sums]))

    def result(self) -> Tensor:
        """Returns the mean, 0 where there is no weight."""
        weight, total = ops.unstack(self._sums.tensor(), 2)
        return divide_no_nan(total, weight)


class EventMetric(CalibrationMetric):
    """Base of the metrics of events, summed over bins.

    A subclass calls `add_bins` in its constructor, and gives `result`; `events` says
    which events, by default those of the top label.
    """

    def add_bins(self, num_bins: int | None) -> None:
        """Makes the state: sums over equal-width bins, or over fine bins for `None`."""
        self._bins = num_bins
        self._sums = CompensatedSum(self, (num_bins or NUM_FINE_BINS, _COLUMNS))

    def events(self, batch: Any) -> Events:
        """Returns probabilities, and whether what they are of came true."""
        return batch.top_label

    def accumulate(self, batch: Any) -> None:
        """Adds the sums over the bins."""
        self._sums.add(self.events(batch).sums(self._bins))

    def sums(self) -> BinSums:
        """Returns what has been seen as tensors of the state's dtype."""
        return BinSums.unstack(self._sums.tensor())

    def statistics(self) -> BinStatistics:
        """Returns what has been seen as float64 numpy arrays that add up."""
        edges = equal_width_edges(self._bins) if self._bins else fine_edges()
        return BinStatistics(*self._sums.numpy().T, edges=edges)


class BinnedMetric(EventMetric):
    """Base of the metrics of events over equal-width bins. A subclass gives `result`.

    Args:
        num_bins: the number of equal-width bins.
    """

    def __init__(self, num_bins: int = 15, **kwargs: Unpack[MetricArguments]) -> None:
        super().__init__(**kwargs)
        self.num_bins = whole_number("num_bins", num_bins)
        self.add_bins(self.num_bins)


class RankedMetric(EventMetric):
    """Base of the metrics that depend on the order of confidences.

    They stream through 4608 fine bins, each at most 1/128 as wide as its distance
    from the nearer of 0 and 1. A subclass gives `of_cells`.
    """

    def __init__(self, **kwargs: Unpack[MetricArguments]) -> None:
        super().__init__(**kwargs)
        self.add_bins(None)

    @abstractmethod
    def of_cells(self, cells: BinSums) -> Tensor:
        """Returns the figure of sums over cells in rising order of confidence."""

    def result(self) -> Tensor:
        """Returns the figure, 0 where there is no weight."""
        cells = BinSums.unstack(self._sums.double())
        return ops.cast(self.of_cells(cells), self.state_dtype)


class GroupedMetric(CalibrationMetric):
    """Base of the means over groups, such as classes, of an error over bins.

    The number of groups is read off the first batch. A subclass gives `events`.

    Args:
        num_bins: the number of equal-width bins of each group.
    """

    def __init__(self, num_bins: int = 15, **kwargs: Unpack[MetricArguments]) -> None:
        super().__init__(**kwargs)
        self.num_bins = whole_number("num_bins", num_bins)
        self._sums: CompensatedSum | None = None

    @abstractmethod
    def events(self, batch: Any) -> Events:
        """Returns probabilities and what came out, with their groups."""

    def accumulate(self, batch: Any) -> None:
        """Adds the sums over the bins of each group."""
        events = self.events(batch)
        rows = events.num_groups * self.num_bins
        if self._sums is None:
            self._sums = CompensatedSum(self, (rows, _COLUMNS))
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
        sums = self._sums.numpy().reshape(-1, self.num_bins, _COLUMNS)
        return [BinStatistics(*group.T) for group in sums]

    def per_group(self) -> Tensor:
        """Returns the l1 error of each group, of shape (groups,)."""
        if self._sums is None:
            return ops.zeros((0,), dtype=self.state_dtype)
        shape = (-1, self.num_bins, _COLUMNS)
        sums = BinSums.unstack(ops.reshape(self._sums.tensor(), shape))
        return calibration_error(sums, "l1")

    def result(self) -> Tensor:
        """Returns the mean over groups, in [0, 1]."""
        if self._sums is None:
            return ops.zeros((), dtype=self.state_dtype)
        return last_mean(self.per_group())
