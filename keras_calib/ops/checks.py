"""Checks of a batch before training on it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from keras import ops

from keras_calib.arguments import in_range, unless_none, whole_number
from keras_calib.ops.batch import classes_last
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import alike, dtype_name
from keras_calib.ops.gamma import STANDSTILL
from keras_calib.ops.labels import read_labels

__all__ = ["check"]

# float16 has no normal number below 6e-5: gamma must stay well above that.
_FLOAT16_GAMMA = 1e-3


def check(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    *,
    gamma: float = 0.0,
    floor: float = 0.0,
    ignore_class: int | None = None,
    axis: int = -1,
) -> None:
    """Checks a batch of labels and predictions, as a compiled step cannot.

    Args:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of shape
            `(..., K)`.
        y_pred: logits or probabilities of shape `(..., K)`, as the model returns
            them.
        from_logits: whether the loss takes `y_pred` as logits.
        gamma: the gamma of the loss.
        floor: the floor of the loss.
        ignore_class: the label that the loss ignores.
        axis: the axis of the classes in `y_pred`, and in targets.

    Raises:
        ValueError: for NaN or infinity, for logits taken as probabilities and
            probabilities taken as logits, for labels that are not whole numbers in
            [0, K), for targets that are not in [0, 1] or do not sum to 1, and for
            shapes that do not fit.

    Warns:
        UserWarning: for half-precision probabilities with a small gamma, because
            rounding destroys what the loss reads from improbable classes; and for a
            gamma so large that the samples' weights are nearly 0 and training may
            not start.

    Example:

    >>> import keras_calib
    >>> keras_calib.check([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    """
    gamma = in_range("gamma", gamma, 0.0, 1.0)
    floor = in_range("floor", floor, 0.0, 1.0)
    axis = whole_number("axis", axis, low=-np.inf)
    unless_none(whole_number, "ignore_class", ignore_class, -np.inf)
    given = y_pred if hasattr(y_pred, "dtype") else np.asarray(y_pred)
    half = "float16" in dtype_name(given)
    scores = _float64(given)
    y_true, scores = classes_last(alike(y_true, scores), scores, axis)
    # As they were given: a batch casts labels to integers.
    labels, soft = read_labels(y_true, scores)
    k = scores.shape[-1]
    _require(np.isfinite(scores).all(), "y_pred holds NaN or infinity", scores)
    sums = scores.sum(-1)
    in_unit = ((scores >= 0) & (scores <= 1 + 1e-6)).all()
    sum_to_one = np.abs(sums - 1).max(initial=0) < (2e-2 if half else 1e-3)
    if from_logits:
        _require(
            not (in_unit and sum_to_one and scores.size),
            "y_pred holds probabilities (each row is in [0, 1] and sums to 1), but "
            "from_logits=True; use from_logits=False or a head without softmax",
            scores,
        )
    else:
        _require(
            in_unit,
            "y_pred is not in [0, 1]: these are logits; use from_logits=True",
            scores,
        )
        _require(sum_to_one, "y_pred does not sum to 1 over the classes", sums)
        if half and gamma < _FLOAT16_GAMMA:
            warnings.warn(
                f"y_pred are {dtype_name(given)} probabilities, and gamma={gamma:g} "
                "needs smaller ones than that format holds: training stalls. Give the "
                "head dtype='float32', or let it return logits and use "
                "from_logits=True",
                stacklevel=2,
            )
    _require(np.isfinite(labels).all(), "y_true holds NaN or infinity", labels)
    batch = ClassBatch(y_true, scores, from_logits=from_logits)
    # Not 0, so that the weight is not 0 / 0.
    p = np.maximum(ops.convert_to_numpy(batch.probabilities), np.finfo("d").tiny)
    weights = np.maximum(p / (gamma + (1.0 - gamma) * p), floor)
    if soft:
        _require(
            ((labels >= 0) & (labels <= 1)).all(),
            "soft labels are not in [0, 1]",
            labels,
        )
        _require(
            np.abs(labels.sum(-1) - 1).max(initial=0) < 1e-3,
            "soft labels do not sum to 1 over the classes",
            labels.sum(-1),
        )
        _warn_of_standstill((batch.labels * weights).sum(-1))
        return
    labels = labels.reshape(-1)
    if ignore_class is not None:
        kept = labels != ignore_class
        labels, weights = labels[kept], weights[kept]
    _require((labels == np.floor(labels)).all(), "labels are not whole numbers", labels)
    _require(
        ((labels >= 0) & (labels < k)).all(),
        f"labels are not in [0, {k}), the classes of y_pred"
        + ("" if ignore_class is None else f", nor ignore_class={ignore_class}"),
        labels,
    )
    _warn_of_standstill(weights[np.arange(len(labels)), labels.astype(int)])


def _warn_of_standstill(weights: np.ndarray) -> None:
    if weights.size and weights.mean() < STANDSTILL:
        warnings.warn(
            "gamma is large for these predictions: on average a sample weighs "
            f"{weights.mean():.1e} of its weight in cross-entropy, and training may "
            "stand still. Anneal gamma up with GammaScheduler, set a floor, or start "
            "from a trained model",
            stacklevel=3,
        )


def _float64(x: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.cast(x, "float64")))


def _require(condition: Any, message: str, received: np.ndarray) -> None:
    if not condition:
        finite = received[np.isfinite(received)]
        span = f"{finite.min():g} to {finite.max():g}" if finite.size else "none"
        raise ValueError(f"{message}. Received: values {span}, shape {received.shape}")
