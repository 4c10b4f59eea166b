"""The rules that labels, predictions and weights given as arrays must meet."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from keras import ops

from keras_calib._keras import get_keras_mask
from keras_calib.ops.batch import SUM_TOLERANCE, classes_last
from keras_calib.ops.binary_batch import is_one_probability
from keras_calib.ops.floats import dtype_name
from keras_calib.ops.labels import binary_labels, read_labels, sample_weights

# So many logits of binary labels hardly ever lie in [0, 1] and spread over half of it.
_ENOUGH = 16

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
    """What counts of arrays, flat.

    Args:
        labels: of shape (N,), or targets of shape (N, K); binary ones of shape (M,).
        scores: of shape (N, K); those of binary labels of shape (M,).
        rows: the scores as whole rows, of shape (N, K).
        binary: whether labels are independent and binary.
        one: whether there is one of them.
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

    What is ignored or has weight 0 may hold anything. What may be right passes: it
    takes two rows that sum to 1 to tell probabilities from logits, and for binary
    labels 16 values that spread over half of [0, 1]; classes numbered from 1 are seen
    where the last class occurs and the first does not.

    Args:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of shape
            `(..., K)`; binary labels of the shape of `y_pred`.
        y_pred: logits or probabilities of shape `(..., K)`, or `(..., L)` of binary
            labels; or `(...)` or `(..., 1)` of label 1 of a binary problem.
        from_logits: whether `y_pred` are logits.
        sample_weight: weights of shape `(...)` or of its leading axes.
        ignore_class: the label that is ignored.
        axis: the axis of the classes in `y_pred`, and in targets.
        binary: whether `y_pred` are of independent binary labels. By default they are
            if there is one of them.

    Returns:
        What counts, as it was given.

    Raises:
        ValueError: says what was seen, what is allowed, and what to write instead.
    """
    given = _read(y_true, y_pred, sample_weight, ignore_class, axis, binary)
    if not given.scores.size:  # no sample counts
        return given
    if given.one or given.soft:
        _require_predictions(given.labels, given.scores, given.one)
    if from_logits:
        _require_logits(given, SUM_TOLERANCE)
    else:
        _require_probabilities(given, SUM_TOLERANCE)
    if given.binary:
        _require_binary(given.labels, given.one)
    elif given.soft:
        _require_targets(given.labels, SUM_TOLERANCE)
    else:
        _require_classes(given.labels, given.rows.shape[-1], ignore_class)
    return given


def kind_of(y_pred: Any, axis: int = -1) -> Literal["logits", "probabilities"]:
    """Tells logits from probabilities of classes, or of label 1, by their values.

    Probabilities lie in [0, 1], and sum to 1 over classes. Logits are of both signs,
    or differ in their sums.

    Args:
        y_pred: predictions of shape `(..., K)`, or `(...)` or `(..., 1)` of label 1.
        axis: the axis of the classes.

    Raises:
        ValueError: for what can be neither, such as percentages and probabilities of
            several labels, and for positive scores of label 1, which can be both.
    """
    scores = as_numbers("y_pred", y_pred)
    require_samples(scores, scores)
    one = is_one_probability(scores, axis)
    scores = scores.reshape(-1, 1) if one else np.moveaxis(scores, axis, -1)
    if scores.min() < 0:
        return "logits"
    _require_finite("y_pred", scores)
    sums = _sums(scores)
    if scores.max() <= 1 + 1e-6 if one else _are(1, sums, SUM_TOLERANCE):
        return "probabilities"
    either = "y_pred may be logits or percentages; say from_logits=True"
    require(not one, either, scores)
    same = len(sums) > 1 and 0 < sums.max() * (1 - 1e-3) <= sums.min()
    require(
        not (same or _are(100, sums, 2) or _fills_unit_interval(scores)),
        "y_pred holds neither probabilities, which sum to 1 over the classes, nor "
        "logits, whose sums differ and which are not all in [0, 1]; divide it by its "
        "sums, or say from_logits=True",
        sums,
    )
    return "logits"


def as_numbers(name: str, x: Any) -> np.ndarray:
    """Returns what any library calls an array, a table or a tensor as numpy's.

    Integers, booleans, float32 and float64 stay as they are.
    """
    try:
        if hasattr(x, "detach"):  # torch's, which may be part of a graph
            x = x.detach()
        array = np.asarray(ops.convert_to_numpy(x) if ops.is_tensor(x) else x)
        kind = array.dtype.kind
        texts = kind == "O" and any(isinstance(v, str | bytes) for v in array.flat)
        if kind not in "biuSUcmM" and array.dtype != "float64" and not texts:
            short = kind != "O" and array.dtype.itemsize <= 4
            array = array.astype("float32" if short else "float64", copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be an array of numbers. Received: {error}"
        ) from error
    require(
        not texts and kind not in "SU",
        f"`{name}` holds strings: encode them as the numbers of the classes, by "
        "`classes.index(label)` for a list of the classes in the order of `y_pred`",
        f"{array.ravel()[:1]}",
    )
    require(kind not in "cmM", f"`{name}` must hold real numbers", str(array.dtype))
    return array


def require_samples(y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
    """Checks by shapes alone that there are samples, and as many of each array.

    Args:
        y_true: labels, or what else has a shape.
        y_pred: predictions.
        sample_weight: weights.
    """
    shapes = {"y_pred": y_pred, "y_true": y_true, "sample_weight": sample_weight}
    shapes = {k: tuple(x.shape) for k, x in shapes.items() if x is not None}
    n, *rest = shapes["y_pred"] or (1,)
    for name, shape in shapes.items():
        found = f"{name}.shape={shape}, y_pred.shape={shapes['y_pred']}"
        one = f"`{name}` must have an axis of the samples: one value is `[value]`"
        require(shape, one, found)
        require(0 not in shape, f"`{name}` is empty: give at least one sample", found)
        hint = "; `y_pred` looks transposed" if [shape[0]] == rest else ""
        same = f"`{name}` and `y_pred` must have the same length{hint}"
        require(shape[0] == n, same, found)


def is_half(x: Any) -> bool:
    """Says whether numbers are given as float16 or bfloat16."""
    return hasattr(x, "dtype") and "float16" in dtype_name(x)


def require(condition: Any, message: str, received: np.ndarray | str) -> None:
    """Raises a message that ends with what was received."""
    if condition:
        return
    if not isinstance(received, str):
        finite = received[np.isfinite(received)]
        span = f"{finite.min():g} to {finite.max():g}" if finite.size else "none"
        received = f"values {span}, shape {received.shape}"
    raise ValueError(f"{message}. Received: {received}")


def _read(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    ignore_class: int | None,
    axis: int,
    binary: bool | None,
) -> Given:
    labels, scores = as_numbers("y_true", y_true), as_numbers("y_pred", y_pred)
    weight = None if sample_weight is None else require_weights(sample_weight)
    require_samples(labels, scores, weight)
    one = is_one_probability(scores, axis)
    require(
        not one or binary is not False,
        "`y_pred` holds one value a sample, as for a binary problem: use a binary loss "
        "or metric, or give the predictions of all K classes, of shape (..., K)",
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
        labels = _of_label_1(labels, scores, counts, SUM_TOLERANCE)
    soft = binary
    if binary:
        labels = binary_labels(labels, scores, shapes)
    else:
        labels, soft = read_labels(labels, scores)
    rows = scores.reshape(-1, scores.shape[-1])
    labels = labels.reshape(rows.shape if soft else -1)
    if binary:
        counts = np.repeat(counts[:, None], rows.shape[-1], axis=1)
    if ignore_class is not None and (binary or not soft):
        counts &= labels != ignore_class
    whole = _only(rows, np.all(counts, -1) if binary else counts)
    values = _only(rows, counts) if binary else whole
    return Given(_only(labels, counts), values, whole, binary, one, soft)


def _only(x: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return x if counts.all() else x[counts]


def require_weights(sample_weight: Any) -> np.ndarray:
    """Returns weights, which must be finite and at least 0, as numpy's."""
    weight = as_numbers("sample_weight", sample_weight)
    _require_finite("sample_weight", weight)
    require((weight >= 0).all(), "sample_weight holds negative weights", weight)
    return weight


def _of_label_1(
    labels: np.ndarray, scores: np.ndarray, counts: np.ndarray, tolerance: float
) -> np.ndarray:
    """Returns the targets of label 1 out of those of classes."""
    k = labels.shape[-1]
    flat = labels.reshape(-1, k)[counts]
    if flat.size:
        _require_predictions(flat, scores.reshape(-1)[counts], True)
        _require_targets(flat, tolerance)
    require(
        k == 2,
        f"`y_true` has {k} classes, and `y_pred` one value a sample: give the "
        f"predictions of all classes, of shape (..., {k})",
        f"y_true.shape={labels.shape}",
    )
    return labels[..., 1]


def _require_predictions(labels: np.ndarray, scores: np.ndarray, one: bool) -> None:
    """Refuses labels in the place of predictions."""
    high = scores.max()
    integers = scores.dtype.kind in "biu" or (len(scores) >= _ENOUGH and high > 1)
    numbers = one and integers
    hard = (numbers or high <= 1) and scores.min() >= 0 and _whole(scores)
    require(
        not hard or len(scores) == 1 or _whole(labels),
        "y_true and y_pred look swapped: y_pred holds labels; write y_true first",
        scores,
    )
    require(
        not hard or not numbers,
        "y_pred holds the numbers of classes; give probabilities or logits",
        scores,
    )


def _require_logits(given: Given, tolerance: float) -> None:
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
    if low < 0 or high > 1 + tolerance:
        return
    if given.binary:
        seen = _fills_unit_interval(z)
    else:
        seen = len(z) > 1 and _are(1, _sums(z), tolerance)
    require(
        not seen,
        "y_pred holds probabilities (in [0, 1], and each row of classes sums to 1), "
        "but from_logits=True; use from_logits=False, or a head without softmax or "
        "sigmoid",
        z,
    )


def _require_probabilities(given: Given, tolerance: float) -> None:
    p, sums = given.scores, _sums(given.rows)
    are_one = _are(1, sums, tolerance)
    if p.min() >= 0 and (p.max() <= 1 + 1e-6 if given.binary else are_one):
        softmax = given.binary and given.rows.shape[-1] > 1 < len(sums) and are_one
        require(
            not softmax or (given.rows == given.rows[:1]).all(),
            "y_pred sums to 1 over the labels, as a softmax does; use the loss or "
            "metric of classes, or a head with sigmoids",
            p,
        )
        return
    _require_finite("y_pred", p)
    require(p.min() >= 0, _LOGITS, p)
    require(not given.binary, f"{_LOGITS}, or divide percentages by 100", p)
    require(not _are(100, sums, 2), "y_pred holds percentages; divide by 100", sums)
    require(p.max() <= 1 + tolerance, _LOGITS, p)
    require(not _are(1, p.sum(0), tolerance), f"y_pred {_TRANSPOSED}", p)
    require(
        False,
        "y_pred does not sum to 1 over the classes; divide it by the sum, use "
        "from_logits=True for logits, or a binary loss or metric for independent "
        "labels",
        sums,
    )


def _require_binary(labels: np.ndarray, one: bool) -> None:
    if labels.min() >= 0 and labels.max() <= 1:
        return
    _require_finite("y_true", labels)
    advice = "write 1 where the label applies, else 0"
    if one:
        advice = (
            "for several classes give the predictions of all, of shape (..., K); "
            "largest confidences are for BinStatistics.from_predictions"
        )
    advice = _BINARY_ADVICE.get(tuple(np.unique(labels)), advice)
    require(False, f"binary labels are not in [0, 1]; {advice}", labels)


def _require_targets(targets: np.ndarray, tolerance: float) -> None:
    sums = _sums(targets)
    if targets.min() >= 0 and _are(1, sums, tolerance):
        return
    _require_finite("y_true", targets)
    within = targets.min() >= 0 and targets.max() <= 1
    require(within, "soft labels are not in [0, 1]", targets)
    require(not _are(1, targets.sum(0), tolerance), f"y_true {_TRANSPOSED}", targets)
    require(
        False,
        "soft labels do not sum to 1 over the classes"
        + ("; use a binary loss or metric for independent labels" * _whole(targets)),
        sums,
    )


def _require_classes(labels: np.ndarray, k: int, ignore_class: int | None) -> None:
    low, high = labels.min(), labels.max()
    if low >= 0 and high < k and _whole(labels):
        return
    _require_finite("y_true", labels)
    require(_whole(labels), "labels are not whole numbers", labels)
    message = f"labels are not in [0, {k}), the classes of y_pred"
    outside = np.unique(labels[(labels < 0) | (labels >= k)])
    if ignore_class is not None:
        message += f", nor ignore_class={ignore_class}"
    if low >= 1 and high == k:
        message += "; the first class is 0: write y_true - 1"
    elif len(outside) == 1:
        message += f"; use ignore_class={outside[0]:g} if it marks what to leave out"
    require(False, message, labels)


def _require_finite(name: str, x: np.ndarray) -> None:
    require(np.isfinite(x).all(), f"{name} holds NaN or infinity", x)


def _sums(rows: np.ndarray) -> np.ndarray:
    """Returns the sums of rows: a product is several times as fast as `sum`."""
    dtype = rows.dtype if rows.dtype.kind == "f" else "float64"
    with np.errstate(all="ignore"):
        sums: np.ndarray = rows @ np.ones(rows.shape[-1], dtype)
    return sums


def _are(value: float, x: np.ndarray, tolerance: float) -> bool:
    return bool(np.abs(x - value).max(initial=0) <= tolerance)


def _whole(x: np.ndarray) -> bool:
    return x.dtype.kind in "biu" or bool((x == np.floor(x)).all())


def _fills_unit_interval(x: np.ndarray) -> bool:
    return x.size >= _ENOUGH and 0 <= x.min() < x.max() - 0.5 and x.max() <= 1
