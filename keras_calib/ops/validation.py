"""The rules that labels, predictions and weights given as arrays must meet."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from keras_calib._keras import get_keras_mask
from keras_calib.ops.arrays import (
    as_numbers,
    as_predictions,
    require,
    require_finite,
    require_no_bytes,
    require_samples,
    require_weights,
)
from keras_calib.ops.batch import SUM_TOLERANCE, classes_last
from keras_calib.ops.binary_batch import is_one_probability
from keras_calib.ops.labels import binary_labels, read_labels, sample_weights
from keras_calib.ops.looks import (
    A_FEW,
    ENOUGH,
    are,
    fill_unit_interval,
    is_whole,
    row_sums,
    scale_of,
)

_IGNORE = "use ignore_class=-1 if -1 marks what to leave out"
_BINARY_ADVICE = {
    (-1, 1): "write (y_true + 1) / 2",
    (1, 2): "write y_true - 1",
    (-1, 0): _IGNORE,
    (-1, 0, 1): _IGNORE,
}
_LOGITS = "y_pred is not in [0, 1]: these are logits; use from_logits=True"
_TRANSPOSED = "sums to 1 over the samples, not over the classes; transpose it"


class Given(NamedTuple):
    """Labels and predictions of the samples that count, flat.

    Args:
        labels: of shape (N,), or targets of shape (N, K); binary ones of shape (M,).
        scores: of shape (N, K); those of binary labels of shape (M,).
        rows: the scores as whole rows, of shape (N, K).
        binary: whether labels are independent and binary.
        one: whether there is one value per sample, of a binary problem.
        soft: whether labels are targets.
    """

    labels: np.ndarray
    scores: np.ndarray
    rows: np.ndarray
    binary: bool
    one: bool
    soft: bool


def validate(
    y_true: Any,
    y_pred: Any,
    *,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = None,
    axis: int = -1,
    binary: bool | None = None,
) -> Given:
    """Checks labels, predictions and weights, or a chunk of them.

    Samples that are ignored or have weight 0 may hold anything. Values that may be
    valid pass: two rows that sum to 1 show probabilities in place of logits, four rows
    show multiples of probabilities, and 16 show either in whole numbers; of binary
    labels, 16 values that come near 0 and near 1 show probabilities. Classes numbered
    from 1 are noticed where the last class occurs and the first does not.

    Args:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of shape
            `(..., K)`; binary labels of the shape of `y_pred`.
        y_pred: logits or probabilities of shape `(..., K)`, or `(..., L)` of binary
            labels; or `(...)` or `(..., 1)` of label 1 of a binary problem.
        from_logits: whether `y_pred` are logits.
        sample_weight: weights of shape `(...)` or of its leading axes.
        ignore_class: the label that is ignored.
        axis: the axis of the classes in `y_pred`, and in targets.
        binary: whether `y_pred` are of independent binary labels; by default only for
            one value per sample.

    Returns:
        The samples that count, as they were given.

    Raises:
        ValueError: for values that break a rule. The message says what was seen, what
            is allowed, and what to write instead.
    """
    given = _read(y_true, y_pred, sample_weight, ignore_class, axis, binary)
    if not given.scores.size:  # no sample counts
        return given
    if given.one or given.soft:
        _require_no_labels(given.labels, given.scores, given.one, from_logits)
    require_no_bytes(given.scores)
    if from_logits:
        _require_logits(given)
    else:
        _require_probabilities(given)
    if given.binary:
        _require_binary(given.labels, given.one)
    elif given.soft:
        _require_targets(given.labels)
    else:
        require_classes(given.labels, given.rows.shape[-1], ignore_class)
    return given


def _read(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    ignore_class: int | None,
    axis: int,
    binary: bool | None,
) -> Given:
    labels, scores = as_numbers("y_true", y_true), as_predictions(y_pred)
    weight = None if sample_weight is None else require_weights(sample_weight)
    require_samples(labels, scores, weight)
    one = is_one_probability(scores, axis)
    require(
        not one or binary is not False,
        "`y_pred` holds one value per sample, as for a binary problem: use a binary "
        "loss or metric, or give the predictions of all K classes, of shape (..., K)",
        f"y_pred.shape={scores.shape}",
    )
    binary = one or bool(binary)
    shapes = labels.shape, scores.shape
    scores, axis = (scores[:, None], -1) if scores.ndim == 1 else (scores, axis)
    labels, scores = classes_last(labels, scores, axis)
    mask = get_keras_mask(y_pred)
    factors = [weight, None if mask is None else as_numbers("the mask", mask)]
    weight = sample_weights(factors, scores, "float64", axis)
    counts = np.ones(scores.shape[:-1], bool).ravel() if weight is None else weight > 0
    if one and labels.shape[:-1] == scores.shape[:-1] and labels.shape[-1] > 1:
        labels = _of_label_1(labels, scores, counts)
    soft = binary
    if binary:
        labels = binary_labels(labels, scores, shapes)
    else:
        labels, soft = read_labels(labels, scores)
    require(
        binary or not soft or ignore_class is None,
        "`ignore_class` needs integer labels",
        f"ignore_class={ignore_class}, y_true.shape={shapes[0]}",
    )
    rows = scores.reshape(-1, scores.shape[-1])
    labels = labels.reshape(rows.shape if soft else -1)
    if binary:
        counts = np.repeat(counts[:, None], rows.shape[-1], axis=1)
    if ignore_class is not None:
        counts &= labels != ignore_class
    whole = _only(rows, np.all(counts, -1) if binary else counts)
    values = _only(rows, counts) if binary else whole
    return Given(_only(labels, counts), values, whole, binary, one, soft)


def _only(x: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return x if counts.all() else x[counts]


def _of_label_1(
    labels: np.ndarray, scores: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Returns the column of label 1 of targets of two classes."""
    k = labels.shape[-1]
    flat = labels.reshape(-1, k)[counts]
    if flat.size:
        _require_no_labels(flat, scores.reshape(-1)[counts], True, False)
        _require_targets(flat)
    require(
        k == 2,
        f"`y_true` has {k} classes, and `y_pred` one value per sample: give the "
        f"predictions of all classes, of shape (..., {k})",
        f"y_true.shape={labels.shape}",
    )
    return labels[..., 1]


def _require_no_labels(
    labels: np.ndarray, scores: np.ndarray, one: bool, from_logits: bool
) -> None:
    """Refuses labels in place of predictions."""
    low, high = scores.min(), scores.max()
    numbers = one and low < high and len(scores) >= ENOUGH
    if from_logits:  # logits of label 1 may be whole numbers, but not all 0 and 1
        numbers = numbers and high <= 1
    else:
        numbers = (numbers and high > 1) or (one and scores.dtype.kind in "iu")
    if low < 0 or not (numbers or high <= 1) or not is_whole(scores):
        return
    # Smoothed labels and votes have few distinct values, and predictions have many.
    many = len(scores) >= A_FEW and 2 * len(np.unique(labels)) > labels.size
    require(
        not many or is_whole(labels),
        "y_true and y_pred look swapped: y_pred holds labels; exchange them",
        scores,
    )
    require(
        not numbers,
        "y_pred holds the numbers of classes; give probabilities or logits",
        scores,
    )


def _require_logits(given: Given) -> None:
    z = given.scores
    low, high = z.min(), z.max()
    # -inf masks a class.
    require(
        high < np.inf and (low > -np.inf or not given.binary) and low == low,
        "y_pred holds NaN or infinity",
        z,
    )
    if low == -np.inf:
        require((z.max(-1) > -np.inf).all(), "y_pred holds rows of -inf alone", z)
    if low < 0:
        return
    if given.binary:
        seen = fill_unit_interval(z)
    else:
        some = len(z) >= (ENOUGH if is_whole(z) else 2)
        seen = some and high <= 1 + SUM_TOLERANCE and are(1, row_sums(z))
    require(
        not seen,
        "y_pred holds probabilities (in [0, 1], and each row of classes sums to 1), "
        "but from_logits=True; use from_logits=False, or a head without softmax or "
        "sigmoid",
        z,
    )
    scale = 0.0 if given.binary else scale_of(z)
    require(
        not scale,
        f"y_pred holds probabilities times {scale:.4g} (at least 0, and each row of "
        "classes has that sum), but from_logits=True; divide it by the sums, and use "
        "from_logits=False",
        z,
    )


def _require_probabilities(given: Given) -> None:
    p, sums = given.scores, row_sums(given.rows)
    are_one = are(1, sums)
    if p.min() >= 0 and (p.max() <= 1 + 1e-6 if given.binary else are_one):
        softmax = given.binary and given.rows.shape[-1] > 1 < len(sums) and are_one
        require(
            not softmax or (given.rows == given.rows[:1]).all(),
            "y_pred sums to 1 over the labels, as a softmax does; use the loss or "
            "metric of classes, or a head with sigmoids",
            p,
        )
        return
    require_finite("y_pred", p)
    require(p.min() >= 0, _LOGITS, p)
    require(not given.binary, f"{_LOGITS}, or divide percentages by 100", p)
    require(
        not are(100, sums, 2), "y_pred holds percentages; divide by 100", sums, "sums"
    )
    high = p.max() > 1 + SUM_TOLERANCE
    require(
        not high or not scale_of(p),
        "y_pred has the same sum in each row, which is not 1; divide it by the sum",
        sums,
        "sums",
    )
    require(not high, _LOGITS, p)
    require(not are(1, p.sum(0)), f"y_pred {_TRANSPOSED}", p)
    require(
        False,
        "y_pred does not sum to 1 over the classes; divide it by the sum, use "
        "from_logits=True for logits, or a binary loss or metric for independent "
        "labels (multilabel=True in evaluate)",
        sums,
        "sums",
    )


def _require_binary(labels: np.ndarray, one: bool) -> None:
    if labels.min() >= 0 and labels.max() <= 1:
        return
    require_finite("y_true", labels)
    advice = "write 1 where the label applies, else 0"
    if one:
        advice = (
            "for several classes give the predictions of all, of shape (..., K); "
            "largest confidences are for BinStatistics.from_predictions"
        )
    advice = _BINARY_ADVICE.get(tuple(np.unique(labels)), advice)
    require(False, f"binary labels are not in [0, 1]; {advice}", labels)


def _require_targets(targets: np.ndarray) -> None:
    sums = row_sums(targets)
    if targets.min() >= 0 and are(1, sums):
        return
    require_finite("y_true", targets)
    within = targets.min() >= 0 and targets.max() <= 1
    require(within, "soft labels are not in [0, 1]", targets)
    require(not are(1, targets.sum(0)), f"y_true {_TRANSPOSED}", targets)
    require(
        False,
        "soft labels do not sum to 1 over the classes"
        + ("; use a binary loss or metric for independent labels" * is_whole(targets)),
        sums,
        "sums",
    )


def require_classes(labels: np.ndarray, k: int, ignore_class: int | None) -> None:
    """Refuses labels that are not whole numbers in [0, K)."""
    low, high = labels.min(), labels.max()
    if low >= 0 and high < k and is_whole(labels):
        return
    require_finite("y_true", labels)
    require(is_whole(labels), "labels are not whole numbers", labels)
    message = f"labels are not in [0, {k}), the classes of y_pred"
    outside = np.unique(labels[(labels < 0) | (labels >= k)])
    if ignore_class is not None:
        message += f", nor ignore_class={ignore_class}"
    if low >= 1 and high == k:
        message += "; the first class is 0: write y_true - 1"
    elif len(outside) == 1:
        message += f"; use ignore_class={outside[0]:g} if it marks what to leave out"
    require(False, message, labels)
