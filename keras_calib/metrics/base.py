"""The bases of the metrics, which read a batch and keep sums as their state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_calib._keras import set_direction
from keras_calib.arguments import counted, default_name, one_of, whole_number
from keras_calib.metrics.bin_statistics import BinStatistics
from keras_calib.metrics.compensated import CompensatedSum
from keras_calib.ops import binning
from keras_calib.ops.arrays import require_call
from keras_calib.ops.batch import ReaderArguments
from keras_calib.ops.calibration import (
    Binning,
    BinSums,
    Norm,
    calibration_error,
    ratio,
    unless_empty,
)
from keras_calib.ops.events import Events, weighted
from keras_calib.ops.floats import last_mean
from keras_calib.ops.ranked import equal_mass_sums
from keras_calib.ops.reader import IgnoringReader
from keras_calib.ops.sums import bin_sums
from keras_calib.ops.token_statistics import FIGURES, TokenStatistics
from keras_calib.types import Tensor

__all__ = [
    "BinnedMetric",
    "CalibrationMetric",
    "GroupedMetric",
    "MeanMetric",
    "RankedMetric",
]


class MetricArguments(ReaderArguments, total=False):
    """The arguments of every metric."""

    name: str | None
    dtype: Any


class GroupedArguments(MetricArguments, total=False):
    """The arguments of every metric of groups, except the number of bins."""

    norm: Norm
    binning: Binning


class CalibrationMetric(IgnoringReader, keras.metrics.Metric, ABC):
    """Base of the metrics. A subclass defines `accumulate` and `result`.

    Args:
        name: name in the logs; by default the name of the class in snake case.
        dtype: `"float64"` for state and arithmetic in float64. Any other dtype, half
            precision included, means float32.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or one-hot or soft
            targets of shape `(..., K)`.
        y_pred: logits or probabilities of shape `(..., K)`, K >= 2; or
            `ops.TokenStatistics`, if the metric needs no more. A Keras mask on them is
            applied. In `fit` on JAX, Keras loses the mask: use `ignore_class` there.
        sample_weight: weights of shape `(...)` or of its leading axes.

    Raises:
        ValueError: if an argument is out of range, or if shapes do not fit.
    """

    # Which direction callbacks and tuners treat as better: "up", "down" or neither.
    direction: str | None = "down"
    # Those of `ops.TokenStatistics` that it reads, beside log p_y.
    reads: Sequence[str] = FIGURES

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Unpack[ReaderArguments],
    ) -> None:
        name = name or default_name(type(self))
        super().__init__(name=name, dtype=dtype, **kwargs)
        if self.direction:  # Keras takes `None` for "down"
            set_direction(self, self.direction)

    @property
    def state_dtype(self) -> str:
        """The dtype of state and arithmetic."""
        return "float64" if self.dtype == "float64" else "float32"

    def read(self, y_true: Tensor, y_pred: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Returns the batch that `accumulate` takes."""
        return super().read(y_true, y_pred, *args, dtype=self.state_dtype, **kwargs)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Adds a batch; see the call arguments of the class."""
        self.accumulate(self.read(*tensors_of(y_true, y_pred, sample_weight)))

    @abstractmethod
    def accumulate(self, batch: Any) -> None:
        """Adds a batch to the state."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Keras copies and pickles a metric without its state.
        state = [ops.convert_to_numpy(variable) for variable in self.variables]
        return type(self).from_config, (self.get_config(),), state

    def __setstate__(self, state: list[np.ndarray]) -> None:
        for sums in list(vars(self).values()):
            if isinstance(sums, CompensatedSum) and not sums.built:
                if (count := len(self.variables)) < len(state):
                    sums.build(state[count].shape)
        if len(self.variables) != len(state):
            raise ValueError(
                f"{self.name} cannot be copied: it has "
                f"{counted(len(self.variables), 'variable')} when it is made, and "
                f"{len(state)} in use. Make all of them in the "
                "constructor, or by CompensatedSum"
            )
        for variable, value in zip(self.variables, state, strict=True):
            variable.assign(value)


def tensors_of(y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> Any:
    """Returns what a metric is called with, in the form that it reads."""
    if isinstance(y_pred, TokenStatistics):
        y_true, _, weight = require_call(y_true, y_pred.log_probability, sample_weight)
        return y_true, y_pred, weight
    y_true, y_pred, weight = require_call(y_true, y_pred, sample_weight)
    return y_true, ops.convert_to_tensor(y_pred), weight


class MeanMetric(CalibrationMetric):
    """Base of weighted means of one value per sample. A subclass defines `values`."""

    # Whether `values` gives NaN for logits that are NaN or +inf, without a check.
    _shows_bad_logits = False

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
        terms = ops.concatenate([ops.cast(s, sums[-1].dtype) for s in sums])
        shown = self._shows_bad_logits and batch.from_logits
        self._sums.add(terms, batch.sound_labels if shown else batch.sound)

    def result(self) -> Tensor:
        """Returns the mean, NaN without weight."""
        weight, total = ops.unstack(self._sums.tensor(), 2)
        return ratio(total, weight)


class EventMetric(CalibrationMetric):
    """Base of the metrics of events, summed over bins.

    A subclass calls `add_bins` in its constructor and defines `result`; `events` are
    by default those of the top label.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or one-hot or soft
            targets of shape `(..., K)`. With a soft target, the hit is the probability
            that the target gives to the predicted class.
    """

    reads = "confidence", "hit"

    def add_bins(
        self, num_bins: int | None, *, grouped: bool = False, squares: bool = True
    ) -> None:
        """Makes the state.

        Args:
            num_bins: the number of equal-width bins, `None` for fine bins.
            grouped: whether each of several groups of events, such as classes, has
                its own bins. The first batch determines their number.
            squares: whether squared errors are summed, which the statistics need for
                a Brier score and for an interval.
        """
        self._bins, self._squares = num_bins, squares
        columns = len(BinSums._fields) if squares else len(BinSums._fields) - 1
        shape = (num_bins or binning.NUM_FINE_BINS, columns)
        self._sums = CompensatedSum(self, (0, *shape) if grouped else shape)

    def events(self, batch: Any) -> Events:
        """Returns probabilities of events and the outcomes."""
        found: Events = batch.top_label
        return found

    def terms(self, batch: Any) -> Tensor:
        """Returns what a batch adds to the state."""
        return self.events(batch).sums(self._bins, squares=self._squares).stack()

    def accumulate(self, batch: Any) -> None:
        """Adds the sums over the bins."""
        self._sums.add(self.terms(batch), batch.sound)

    def sums(self) -> BinSums:
        """Returns the state as tensors of its dtype."""
        return BinSums.unstack(self._sums.tensor())

    def cells(self) -> BinSums:
        """Returns the state as float64 tensors (float32 on JAX without x64)."""
        return BinSums.unstack(self._sums.double())

    def statistics(self) -> BinStatistics:
        """Returns the state as float64 numpy arrays that add up."""
        return self.statistics_of(self._sums.numpy())

    def statistics_of(self, state: np.ndarray) -> BinStatistics:
        """Returns the statistics of a state, such as a sum of `terms`."""
        edges = (
            binning.equal_width_edges(self._bins)
            if self._bins
            else binning.fine_edges()
        )
        return BinStatistics(*state.T, edges=edges)


class BinnedMetric(EventMetric):
    """Base of the metrics of events over equal-width bins.

    The result is by default the calibration error of the attribute `norm`.

    Args:
        num_bins: the number of equal-width bins.
    """

    norm: Norm = "l1"

    def __init__(self, num_bins: int = 15, **kwargs: Unpack[MetricArguments]) -> None:
        super().__init__(**kwargs)
        self.num_bins = whole_number("num_bins", num_bins)
        self.add_bins(self.num_bins)

    def result(self) -> Tensor:
        """Returns the error, in [0, 1]."""
        return calibration_error(self.sums(), self.norm)


class RankedMetric(EventMetric):
    """Base of the metrics that depend on the order of confidences.

    They stream through 4608 fine bins. The width of each is at most 1/128 of its
    distance from the nearer of 0 and 1. A subclass defines `of_cells`.
    """

    def __init__(self, **kwargs: Unpack[MetricArguments]) -> None:
        super().__init__(**kwargs)
        self.add_bins(None, squares=False)

    @abstractmethod
    def of_cells(self, cells: BinSums) -> Tensor:
        """Returns the figure, from sums over cells in order of rising confidence."""

    def result(self) -> Tensor:
        """Returns the figure, NaN without weight."""
        return ops.cast(self.of_cells(self.cells()), self.state_dtype)


class GroupedMetric(EventMetric):
    """Base of the metrics that average the error of groups, such as classes.

    The first batch determines the number of groups. A subclass defines `events`.

    Equal-mass bins take 147 KB for each group, as in `ExpectedCalibrationError`.

    Args:
        num_bins: the number of bins of each group.
        norm: `"l1"`, `"l2"`, `"max"`, or `"l2_debiased"`, the l2 norm without the
            part that sampling noise adds.
        binning: `"equal_width"` or `"equal_mass"`.
    """

    def __init__(
        self,
        num_bins: int = 15,
        *,
        norm: Norm = "l1",
        binning: Binning = "equal_width",
        **kwargs: Unpack[MetricArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_bins = whole_number("num_bins", num_bins)
        self.norm = one_of("norm", norm, Norm)
        self.binning = one_of("binning", binning, Binning)
        self.add_bins(num_bins if binning == "equal_width" else None, grouped=True)

    @abstractmethod
    def events(self, batch: Any) -> Events:
        """Returns probabilities of events, the outcomes and their groups."""

    def statistics(self) -> list[BinStatistics]:  # type: ignore[override]
        """Returns one `BinStatistics` for each group."""
        return self.statistics_of(self._sums.numpy())

    def statistics_of(  # type: ignore[override]
        self, state: np.ndarray
    ) -> list[BinStatistics]:
        """Returns the statistics of a state, one for each group."""
        found = [super(GroupedMetric, self).statistics_of(group) for group in state]
        if self.binning == "equal_width":
            return found
        return [statistics.equal_mass(self.num_bins) for statistics in found]

    def per_group(self) -> Tensor:
        """Returns the error of each group, of shape (groups,), 0 without weight."""
        sums = self.sums()
        empty = ops.sum(sums.weight, axis=-1) == 0.0
        if self.binning == "equal_mass":
            found = ops.map(self._cut, self._sums.double())
            error = ops.cast(found, self.state_dtype)
        else:
            error = calibration_error(sums, self.norm)
        return ops.where(empty, 0.0, error)

    def _cut(self, cells: Tensor) -> Tensor:
        """Returns the error of one group over bins of equal weight."""
        sums = equal_mass_sums(BinSums.unstack(cells), self.num_bins)
        return calibration_error(sums, self.norm)

    def result(self) -> Tensor:
        """Returns the mean over the groups, in [0, 1], NaN without weight."""
        weight = ops.reshape(self.sums().weight, (-1,))
        return unless_empty(last_mean(self.per_group()), weight)
