"""Every figure of calibration of arrays, in one call."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.arguments import whole_number
from keras_calib.metrics.bin_statistics import BinStatistics
from keras_calib.metrics.binary import BinaryECE
from keras_calib.metrics.brier import BrierDecomposition, BrierScore
from keras_calib.metrics.classwise import ClasswiseECE
from keras_calib.metrics.expected_calibration_error import ExpectedCalibrationError
from keras_calib.metrics.likelihood import NegativeLogLikelihood, PredictiveEntropy
from keras_calib.ops.bin_statistics import BinSums
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import in_float64
from keras_calib.ops.ranked import (
    accuracy_at_coverage,
    area_under_risk_coverage,
    ks_error,
)
from keras_calib.ops.smooth import NUM_NODES, node_sums, smooth_ece

# Numbers of predictions in a chunk.
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


@in_float64
def evaluate(
    y_true: Any,
    y_pred: Any,
    *,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = None,
    num_bins: int = 15,
    coverage: float = 0.9,
    verbose: bool | None = None,
) -> Evaluation:
    """Measures the calibration of predictions, in float64.

    Arrays are read in chunks along the first axis, so that a `numpy.memmap` may be
    larger than memory; kept are three float64 numbers a sample. What depends on the
    order of confidences (equal mass, KS, AURC, accuracy at coverage) is exact, from
    all of them sorted; equal confidences count as ties, in any order alike. The
    smooth ECE is relplot's, on its grid, or a tenth of it where the error is
    below 0.01.

    Args:
        y_true: integer labels of shape `(N, ...)` or `(N, ..., 1)`, or targets of
            shape `(N, ..., K)`.
        y_pred: logits or probabilities of shape `(N, ..., K)`; or of the label 1 of
            a binary problem, of shape `(N,)` or `(N, 1)`, which is measured as two
            classes, and as `binary_ece` on the probability itself.
        from_logits: whether predictions are logits.
        sample_weight: weights of shape `(N, ...)` or of its leading axes.
        ignore_class: integer label whose samples count for nothing.
        num_bins: the number of bins.
        coverage: the share of samples for `accuracy_at_coverage`.
        verbose: whether to show a progress bar; by default for more than one chunk.

    Returns:
        An `Evaluation`: a dict of floats, with the bins as `statistics`. `ece_low`
        and `ece_high` are the ends of the 95 % interval of `ece`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> found = keras_calib.evaluate([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(found["ece"], 6), round(found["brier_score"], 6)
    (0.45, 0.53)
    >>> found.statistics.total
    2.0
    """
    num_bins = whole_number("num_bins", num_bins)
    y_pred = _arraylike(y_pred)
    n = len(y_pred)
    others = [None if x is None else _arraylike(x) for x in (y_true, sample_weight)]
    for name, x in zip(("y_true", "sample_weight"), others, strict=True):
        if x is not None and len(x) != n:
            raise ValueError(
                f"`{name}` and `y_pred` must be of the same length. Received: "
                f"{name}.shape={tuple(x.shape)}, y_pred.shape={tuple(y_pred.shape)}"
            )
    binary = len(y_pred.shape) == 1 or y_pred.shape[-1] == 1
    metrics = {
        "ece": ExpectedCalibrationError(num_bins, dtype="float64"),
        "classwise_ece": ClasswiseECE(num_bins, dtype="float64"),
        "brier_score": BrierScore(dtype="float64"),
        "brier_decomposition": BrierDecomposition(dtype="float64"),
        "negative_log_likelihood": NegativeLogLikelihood(dtype="float64"),
        "predictive_entropy": PredictiveEntropy(dtype="float64"),
    }
    of_label_1 = BinaryECE(
        num_bins=num_bins,
        from_logits=from_logits,
        ignore_class=ignore_class,
        dtype="float64",
    )
    rows = max(1, _CHUNK // max(int(np.prod(y_pred.shape[1:])), 1))
    starts = range(0, n, rows)
    bar = None
    if len(starts) > 1 if verbose is None else verbose:
        bar = keras.utils.Progbar(n, unit_name="sample")
    columns = [np.zeros((3, 0))]
    for start in starts:
        chunk = slice(start, start + rows)
        labels, weight = (None if x is None else np.asarray(x[chunk]) for x in others)
        predictions = np.asarray(y_pred[chunk])
        if binary:
            of_label_1.update_state(labels, predictions, weight)
            labels, predictions = _two_classes(labels, predictions, from_logits)
        batch = ClassBatch(
            labels,
            predictions,
            weight,
            from_logits=from_logits,
            ignore_class=ignore_class,
            dtype="float64",
        )
        for metric in metrics.values():
            metric.accumulate(batch)
        columns.append(_columns(batch))
        if bar:
            bar.update(min(start + rows, n))
    statistics = metrics["ece"].statistics()
    low, high = statistics.ece_interval()
    figures = _ranked(np.concatenate(columns, axis=1), num_bins, coverage)
    figures |= {
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
        figures["binary_ece"] = _float(of_label_1.result())
    for name, metric in metrics.items():
        if name != "ece":
            result = metric.result()
            figures |= result if isinstance(result, dict) else {name: result}
    figures = {name: _float(figure) for name, figure in sorted(figures.items())}
    return Evaluation(figures, statistics)


def _ranked(columns: np.ndarray, num_bins: int, coverage: float) -> dict[str, Any]:
    """Returns what depends on the order of confidences."""
    weight, confidence, hit = columns[:, columns[0] != 0]
    # One cell for each confidence, as sums of weight, confidence and hits.
    edges, cell = np.unique(confidence, return_inverse=True)
    # Of no samples numpy counts in integers.
    cells = BinSums(
        *(
            np.bincount(cell, w, minlength=max(len(edges), 1)).astype("float64")
            for w in (weight, weight * confidence, weight * hit)
        )
    )
    edges = np.append(edges if len(edges) else 0.0, 1.0)
    equal_mass = BinStatistics(*cells, edges=edges).equal_mass(num_bins)
    residual = weight * (confidence - hit)
    confidence = ops.convert_to_tensor(confidence)

    def smooth(num_nodes):
        return _float(smooth_ece(node_sums(confidence, (weight, residual), num_nodes)))

    smooth_error = smooth(NUM_NODES)
    if smooth_error < 0.01:
        smooth_error = smooth(10 * (NUM_NODES - 1) + 1)
    return {
        "accuracy": accuracy_at_coverage(cells, 1.0),
        "accuracy_at_coverage": accuracy_at_coverage(cells, coverage),
        "aurc": area_under_risk_coverage(cells),
        "equal_mass_ece": equal_mass.ece(),
        "equal_mass_debiased_ece": equal_mass.debiased_ece(),
        "ks_calibration_error": ks_error(cells),
        "smooth_ece": smooth_error,
    }


def _columns(batch: ClassBatch) -> np.ndarray:
    """Returns weight, confidence and hit as float64 of shape (3, N)."""
    confidence = np.asarray(ops.convert_to_numpy(batch.confidence), "float64")
    hit = np.asarray(ops.convert_to_numpy(batch.hit), "float64")
    if batch.sample_weight is None:
        return np.stack([np.ones(len(hit)), confidence, hit])
    weight = np.asarray(ops.convert_to_numpy(batch.sample_weight), "float64")
    return np.stack([weight, confidence, hit])


def _two_classes(labels, predictions, from_logits):
    """Returns labels of shape (N, ...) and predictions of shape (N, ..., 2)."""
    if predictions.ndim > 1:
        predictions = predictions[..., 0]
    if labels.ndim > predictions.ndim:
        labels = labels[..., 0]
    negative = 0 * predictions if from_logits else 1 - predictions
    if not np.array_equal(labels, np.floor(labels)):
        labels = np.stack([1 - labels, labels], axis=-1)
    return labels, np.stack([negative, predictions], axis=-1)


def _arraylike(x: Any) -> Any:
    """Returns what has a shape and can be sliced, without reading it."""
    return x if hasattr(x, "shape") and hasattr(x, "__len__") else np.asarray(x)


def _float(x: Any) -> float:
    return float(ops.convert_to_numpy(x))
