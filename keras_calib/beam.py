"""Calibration in Apache Beam: sums over bins, of predictions spread over a cluster.

It needs the extra `beam`, and is imported by name: `import keras_calib.beam`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, TypeAlias

import apache_beam
import numpy as np

from keras_calib.metrics import BinStatistics, ExpectedCalibrationError
from keras_calib.metrics.base import EventMetric
from keras_calib.ops.arrays import require
from keras_calib.ops.binary_batch import (
    BinaryBatch,
    is_one_probability,
    two_classes,
)
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import in_float64, in_numpy
from keras_calib.ops.validation import validate

__all__ = ["BinStatisticsFn", "SumsFn"]

# A label, a prediction, and possibly a weight.
Row: TypeAlias = tuple[Any, ...]
# The sums, `None` before the first row, and the rows that are not added to them yet.
Accumulator: TypeAlias = tuple[Any, list[Row]]

# The number of rows that are read at a time: a single row would take as long.
_ROWS = 1000


class SumsFn(apache_beam.CombineFn):
    """Base of the combiners of rows `(label, prediction)` or `(..., weight)`.

    A subclass defines `sums`, an array that adds up, and `extract_output`.
    """

    @abstractmethod
    def sums(
        self, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None
    ) -> np.ndarray:
        """Returns the sums over some rows."""

    def create_accumulator(self) -> Accumulator:
        """Returns an empty accumulator."""
        return None, []

    def add_input(self, accumulator: Accumulator, row: Row) -> Accumulator:
        """Adds a row."""
        accumulator[1].append(row)
        return self._folded(accumulator, _ROWS)

    def merge_accumulators(self, accumulators: Iterable[Accumulator]) -> Accumulator:
        """Adds up accumulators."""
        total = None
        for accumulator in accumulators:
            total = _plus(total, self._folded(accumulator)[0])
        return total, []

    def compact(self, accumulator: Accumulator) -> Accumulator:
        """Adds the rows to the sums, which take less space."""
        return self._folded(accumulator)

    @in_float64
    def _folded(self, accumulator: Accumulator, at_least: int = 1) -> Accumulator:
        total, rows = accumulator
        if len(rows) < at_least:
            return accumulator
        require(
            all(len(row) in (2, 3) for row in rows),
            "a row must be (label, prediction) or (label, prediction, weight)",
            f"{rows[:1]}",
        )
        weights = [row[2] if len(row) == 3 else 1.0 for row in rows]
        y, p, weight = map(
            _stacked, (*zip(*(row[:2] for row in rows), strict=True), weights)
        )
        return _plus(total, self.sums(y, p, weight)), []


class BinStatisticsFn(SumsFn):
    """Sums up rows over bins, as a `CombineFn` of Beam.

    Rows are tuples `(label, prediction)` or `(label, prediction, weight)`, where a
    prediction is an array or a list over the classes, or the probability of label 1.
    The result is that of one pass over all rows, however Beam bundles them.

    Args:
        metric: says which events are summed, over which bins, and how predictions are
            read: `ExpectedCalibrationError` (the top label, the default),
            `ClasswiseECE`, `BinaryECE`, `MultilabelECE`, `TopKCalibrationError`, or a
            metric that depends on the order of confidences, such as `AURC`, for fine
            bins. With `from_logits=True` it reads logits.

    Returns:
        In a pipeline, the `BinStatistics` of the rows; for a metric of every class or
        label, a list of them, one for each.

    Raises:
        ValueError: for a metric without bins; and in a worker, for labels, predictions
            and weights that `evaluate` refuses.

    Example:

    >>> import apache_beam, keras_calib.beam
    >>> rows = [(0, [0.8, 0.2]), (1, [0.7, 0.3])]
    >>> fn = keras_calib.beam.BinStatisticsFn(keras_calib.ExpectedCalibrationError(2))
    >>> with apache_beam.Pipeline() as pipeline:
    ...     created = pipeline | apache_beam.Create(rows)
    ...     printed = created | apache_beam.CombineGlobally(fn) | apache_beam.Map(print)
             bin  weight  confidence  accuracy      gap  95% of accuracy
    0.500-1.000       2      0.7500    0.5000  +0.2500      0.061-0.939
    """

    def __init__(self, metric: EventMetric | None = None) -> None:
        if metric is None:
            metric = ExpectedCalibrationError()
        require(
            isinstance(metric, EventMetric),
            "`metric` must be a metric with bins, such as ExpectedCalibrationError()",
            repr(metric),
        )
        config = {**metric.get_config(), "dtype": "float64"}
        self._metric: Any = type(metric).from_config(config)

    def sums(
        self, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None
    ) -> np.ndarray:
        """Returns the sums over the bins."""
        metric = self._metric
        reader = metric.reader(y_pred)
        validate(
            y_true,
            y_pred,
            sample_weight=weight,
            from_logits=metric.from_logits,
            ignore_class=metric.ignore_class,
            axis=metric.axis,
            binary=reader is BinaryBatch or None,
        )
        if reader is ClassBatch and is_one_probability(y_pred, metric.axis):
            y_true, y_pred = two_classes(
                y_true, y_pred, metric.from_logits, metric.axis
            )
        return in_numpy(metric.terms(metric.read(y_true, y_pred, weight)))

    def extract_output(
        self, accumulator: Accumulator
    ) -> BinStatistics | list[BinStatistics]:
        """Returns the statistics."""
        total, _ = self.compact(accumulator)
        empty = total is None
        metric = self._metric
        found: BinStatistics | list[BinStatistics]
        found = metric.statistics() if empty else metric.statistics_of(total)
        return found


def _plus(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    require(
        one.shape == other.shape,
        "all rows must have the same number of classes",
        f"sums of shapes {one.shape} and {other.shape}",
    )
    return one + other


def _stacked(values: Any) -> np.ndarray:
    shapes = {np.shape(value) for value in values}
    require(
        len(shapes) == 1,
        "all rows must have the same number of classes",
        f"values of shapes {sorted(shapes)[:2]}",
    )
    return np.asarray(values)
