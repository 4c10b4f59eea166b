"""Looking at a batch before training on it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from keras import ops

from keras_calib.arguments import in_range
from keras_calib.ops.gamma import STANDSTILL
from keras_calib.ops.labels import class_labels

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
) -> None:
    """Checks a batch of labels and predictions, which a compiled step cannot do.

    Args:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of shape
            `(..., K)`.
        y_pred: logits or probabilities of shape `(..., K)`, as the model gives
            them.
        from_logits: what the loss takes `y_pred` for.
        gamma: the gamma of the loss.
        floor: the floor of the loss.
        ignore_class: the label that the loss ignores.

    Raises:
        ValueError: for NaN or infinity, logits taken for probabilities and
            probabilities for logits, labels that are not whole numbers in [0, K),
            targets that are not in [0, 1] or do not sum to 1, and shapes that do
            not fit.

    Warns:
        UserWarning: for half-precision probabilities beside a small gamma: their
            rounding drowns what the loss reads from improbable classes; and for a
            gamma so large beside these predictions that their samples weigh next
            to nothing and training may stand still.

    Example:

    >>> import keras_calib
    >>> keras_calib.check([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    """
    gamma = in_range("gamma", gamma, 0.0, 1.0)
    floor = in_range("floor", floor, 0.0, 1.0)
    y_pred = ops.convert_to_tensor(y_pred)
    half = "float16" in str(y_pred.dtype)
    labels, soft = class_labels(ops.convert_to_tensor(y_true), y_pred)
    raw = _numpy(ops.convert_to_tensor(y_true))
    scores = _numpy(y_pred)
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
        _require(sum_to_one, "y_pred does not sum to 1 over the last axis", sums)
        if half and gamma < _FLOAT16_GAMMA:
            warnings.warn(
                f"y_pred are {y_pred.dtype} probabilities, and gamma={gamma:g} asks "
                "for smaller ones than that format holds: training stalls. Give the "
                "head dtype='float32', or let it return logits and use "
                "from_logits=True",
                stacklevel=2,
            )
    _require(np.isfinite(raw).all(), "y_true holds NaN or infinity", raw)
    p = _softmax(scores) if from_logits else np.maximum(scores, np.finfo("d").tiny)

    def weigh(p: np.ndarray) -> np.ndarray:
        return np.maximum(p / (gamma + (1.0 - gamma) * p), floor)

    if soft:
        _require(((raw >= 0) & (raw <= 1)).all(), "soft labels are not in [0, 1]", raw)
        _require(
            np.abs(raw.sum(-1) - 1).max(initial=0) < 1e-3,
            "soft labels do not sum to 1 over the last axis",
            raw.sum(-1),
        )
        _warn_of_standstill((raw * weigh(p)).sum(-1))
        return
    labels, p = raw.reshape(-1), p.reshape(-1, k)
    if ignore_class is not None:
        labels, p = labels[labels != ignore_class], p[labels != ignore_class]
    _require((labels == np.floor(labels)).all(), "labels are not whole numbers", labels)
    _require(
        ((labels >= 0) & (labels < k)).all(),
        f"labels are not in [0, {k}), the classes of y_pred"
        + ("" if ignore_class is None else f", nor ignore_class={ignore_class}"),
        labels,
    )
    _warn_of_standstill(weigh(p[np.arange(len(labels)), labels.astype(int)]))


def _warn_of_standstill(weights: np.ndarray) -> None:
    if weights.size and weights.mean() < STANDSTILL:
        warnings.warn(
            "gamma is large beside these predictions: a sample weighs "
            f"{weights.mean():.1e} of what it does in cross-entropy, and training may "
            "stand still. Anneal gamma up with GammaScheduler, set a floor, or start "
            "from a trained model",
            stacklevel=3,
        )


def _softmax(z: np.ndarray) -> np.ndarray:
    # Down to exp(-700) > 0, so that 0 / 0 is met nowhere.
    e = np.exp(np.maximum(z - z.max(-1, keepdims=True), -700.0))
    return e / e.sum(-1, keepdims=True)


def _numpy(x: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.cast(x, "float64")))


def _require(condition: Any, message: str, received: np.ndarray) -> None:
    if not condition:
        finite = received[np.isfinite(received)]
        span = f"{finite.min():g} to {finite.max():g}" if finite.size else "none"
        raise ValueError(f"{message}. Received: values {span}, shape {received.shape}")
