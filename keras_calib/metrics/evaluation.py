"""Every figure of calibration of arrays, in one call."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.arguments import boolean, in_range
from keras_calib.metrics.bin_statistics import BinStatistics
from keras_calib.metrics.brier import BrierDecomposition, BrierScore, group_sums
from keras_calib.metrics.classwise import ClasswiseECE
from keras_calib.metrics.collection import results_by_name
from keras_calib.metrics.expected_calibration_error import ExpectedCalibrationError
from keras_calib.metrics.likelihood import NegativeLogLikelihood, PredictiveEntropy
from keras_calib.metrics.tables import html_table
from keras_calib.ops import ranked, validation
from keras_calib.ops.arrays import as_numbers, require_any, require_samples
from keras_calib.ops.binary_batch import is_one_probability, two_classes
from keras_calib.ops.calibration import BinSums
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import Events
from keras_calib.ops.floats import in_float64
from keras_calib.ops.smooth import NUM_NODES, node_sums, smooth_ece
from keras_calib.ops.sums import bin_sums
from keras_calib.types import Tensor

__all__ = ["Evaluation", "evaluate"]

# The number of predictions in a chunk.
_CHUNK = 2**21


class Evaluation(dict[str, float]):
    """Figures by name, printed as a table.

    Attributes:
        statistics: the `BinStatistics` of the top label over equal-width bins.

    Example:

    >>> import keras_calib
    >>> found = keras_calib.evaluate([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> print(str(found).splitlines()[0])
    accuracy                    0.500000
    """

    def __init__(self, figures: dict[str, float], statistics: BinStatistics) -> None:
        super().__init__(figures)
        self.statistics = statistics

    def __str__(self) -> str:
        return "\n".join(f"{name:<26} {figure: .6f}" for name, figure in self.items())

    def _repr_html_(self) -> str:
        rows = [[name, f"{figure:.6f}"] for name, figure in self.items()]
        return html_table(["", "figure"], rows)


@in_float64
def evaluate(
    y_true: Any,
    y_pred: Any,
    *,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = None,
    axis: int = -1,
    num_bins: int = 15,
    coverage: float = 0.9,
    verbose: bool | None = None,
    validate: bool = True,
) -> Evaluation:
    """Measures the calibration of predictions, in float64.

    Arrays are read in chunks along the first axis, so that a `numpy.memmap` may be
    larger than memory; three float64 numbers per sample are kept. The figures that
    depend on the order of confidences (equal mass, KS, AURC, accuracy at coverage)
    are exact: they are computed from all confidences, sorted, and do not depend on
    the order of equal ones. The smooth ECE is relplot's, on its grid, or on a grid ten
    times as fine if the error is below 0.01.

    Args:
        y_true: integer labels of shape `(N, ...)` or `(N, ..., 1)`, or targets of
            shape `(N, ..., K)`.
        y_pred: logits or probabilities of shape `(N, ..., K)`; or of label 1 of a
            binary problem, of shape `(N,)` or `(N, ..., 1)`, which is measured as two
            classes, and as `binary_ece` on the probability itself.
        from_logits: whether `y_pred` are logits.
        sample_weight: weights of shape `(N, ...)` or of its leading axes.
        ignore_class: integer label whose samples are ignored.
        axis: the axis of the classes in `y_pred`, and in targets; not the first.
        num_bins: the number of bins.
        coverage: the fraction of samples for `accuracy_at_coverage`.
        verbose: whether to show a progress bar; by default for more than one chunk.
        validate: whether to check the values of labels, predictions and weights,
            chunk by chunk. Without the checks, figures of impossible values are NaN.
            Empty arrays, and shapes that do not fit, raise in any case.

    Returns:
        An `Evaluation`: a dict of floats, with the bins as `statistics`. `ece_low`
        and `ece_high` are the ends of the 95 % interval of `ece`.

    Raises:
        ValueError: if no sample counts, if shapes do not fit, if an argument is out of
            range, and if labels, predictions or weights are impossible: logits without
            `from_logits=True`, rows that do not sum to 1, labels that are no class,
            NaN, negative weights and the like. It says what to write.

    Example:

    >>> import keras_calib
    >>> found = keras_calib.evaluate([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(found["ece"], 6), round(found["brier_score"], 6)
    (0.45, 0.53)
    >>> found.statistics.total
    2.0
    """
    ece = ExpectedCalibrationError(
        num_bins,
        from_logits=from_logits,
        ignore_class=ignore_class,
        axis=axis,
        dtype="float64",
    )
    in_range("coverage", coverage, float(np.finfo("float32").tiny), 1.0)
    given = {"y_true": y_true, "y_pred": y_pred, "sample_weight": sample_weight}
    given = {
        name: _arraylike(name, x)
        for name, x in given.items()
        if x is not None or name != "sample_weight"
    }
    require_samples(**given)
    y_pred = given["y_pred"]
    n, rank = len(y_pred), len(y_pred.shape)
    if axis != -1 and not (0 < axis < rank or -rank < axis < 0):
        raise ValueError(
            f"`axis` must be an axis of `y_pred` after the first. Received: "
            f"axis={axis}, y_pred.shape={tuple(y_pred.shape)}"
        )
    metrics = [
        ece,
        classwise := ClasswiseECE(num_bins, dtype="float64"),
        BrierScore(dtype="float64"),
        _PredictedClasses(),
        NegativeLogLikelihood(dtype="float64"),
        PredictiveEntropy(dtype="float64"),
    ]
    binary = is_one_probability(y_pred, axis)
    rows = max(1, _CHUNK // max(int(np.prod(y_pred.shape[1:])), 1))
    starts = range(0, max(n, 1), rows)
    bar = None
    if len(starts) > 1 if verbose is None else verbose:
        bar = keras.utils.Progbar(n, unit_name="sample")
    seen = []
    for start in starts:
        chunk: dict[str, Any] = {k: x[start : start + rows] for k, x in given.items()}
        if boolean("validate", validate):
            validation.validate(
                **chunk, from_logits=from_logits, ignore_class=ignore_class, axis=axis
            )
        chunk = {k: as_numbers(k, x) for k, x in chunk.items()}
        if binary:
            chunk["y_true"], chunk["y_pred"] = two_classes(
                chunk["y_true"], chunk["y_pred"], from_logits, axis
            )
        batch = ece.read(**chunk)
        for metric in metrics:
            metric.accumulate(batch)
        seen.append(_arrays(batch.top_label))
        if bar:
            bar.update(min(start + rows, n))
    statistics = ece.statistics()
    if validate:
        require_any(statistics.total)
    if not statistics.total > 0:  # no sample counts, or a chunk held impossible values
        seen = [(np.full(1, np.nan),) * 3]
    confidence, hit, weight = map(np.concatenate, zip(*seen, strict=True))
    kept = weight != 0
    events = Events(confidence[kept], hit[kept], weight[kept], precision="float64")
    low, high = statistics.ece_interval()
    figures = {
        **results_by_name(metrics),
        **_ranked(events, num_bins, coverage),
        "ece": statistics.ece(),
        "ece_low": low,
        "ece_high": high,
        "ece_l2": statistics.ece("l2"),
        "debiased_ece": statistics.debiased_ece(),
        "maximum_calibration_error": statistics.ece("max"),
        "calibration_gap": statistics.gap(),
        "overconfidence": statistics.overconfidence(),
        "underconfidence": statistics.underconfidence(),
    }
    if binary:
        figures["binary_ece"] = classwise.per_class()[1]
    figures = {name: float(figure) for name, figure in sorted(figures.items())}
    return Evaluation(figures, statistics)


class _PredictedClasses(BrierDecomposition):
    """Keeps sums only of predicted classes, because those of all take K^2 numbers.

    Its state has no fixed shape, so that a compiled step cannot hold it.
    """

    def __init__(self) -> None:
        super().__init__(dtype="float64")
        self._rows: dict[int, np.ndarray] = {}

    def accumulate(self, batch: ClassBatch) -> None:
        """Adds weights, probabilities, labels and their squares."""
        predicted, p, y = (
            np.asarray(ops.convert_to_numpy(x))
            for x in (batch.predicted, batch.probabilities, batch.targets)
        )
        occurs = np.zeros(batch.num_classes, bool)
        occurs[predicted] = True
        index = (np.cumsum(occurs) - 1)[predicted]
        sums = group_sums(batch.sample_weight, p, y, index, occurs.sum())
        rows = ops.convert_to_numpy(sums)
        for k, row in zip(np.flatnonzero(occurs).tolist(), rows, strict=True):
            self._rows[k] = self._rows.get(k, 0.0) + row
        self._add_squares(batch)

    def _sums(self) -> tuple[Tensor, Tensor]:
        return np.stack(list(self._rows.values())), self._squares.numpy()


def _ranked(events: Events, num_bins: int, coverage: float) -> dict[str, Any]:
    """Returns the figures that depend on the order of confidences."""
    # One cell for each distinct confidence.
    edges, cell = np.unique(events.confidence, return_inverse=True)
    cells = BinSums(*bin_sums(list(events.terms), cell, len(edges)))
    equal_mass = BinStatistics(*cells, edges=np.append(edges, 1.0)).equal_mass(num_bins)
    smooth = float(smooth_ece(node_sums(events)))
    if smooth < 0.01:
        smooth = float(smooth_ece(node_sums(events, 10 * (NUM_NODES - 1) + 1)))
    return {
        "accuracy": ranked.accuracy_at_coverage(cells, 1.0),
        "accuracy_at_coverage": ranked.accuracy_at_coverage(cells, coverage),
        "aurc": ranked.area_under_risk_coverage(cells),
        "equal_mass_ece": equal_mass.ece(),
        "equal_mass_debiased_ece": equal_mass.debiased_ece(),
        "ks_calibration_error": ranked.ks_error(cells),
        "smooth_ece": smooth,
    }


def _arrays(events: Events) -> tuple[np.ndarray, ...]:
    """Returns confidence, hit and weight as float64 arrays of shape (N,)."""
    weight = events.sample_weight
    if weight is None:
        weight = np.ones(events.confidence.shape)
    return tuple(
        np.asarray(ops.convert_to_numpy(x), "float64")
        for x in (events.confidence, events.hit, weight)
    )


def _arraylike(name: str, x: Any) -> Any:
    """Returns an object with a shape and a length unread, any other as an array."""
    # Slices of a pandas object go by label.
    by_position = hasattr(x, "shape") and not hasattr(x, "iloc")
    return x if by_position and hasattr(x, "__len__") else as_numbers(name, x)
