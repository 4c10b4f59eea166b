"""Checks of a batch before training on it."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from keras_calib.activations import sigmoid, softmax
from keras_calib.arguments import boolean, in_range, label, unless_none, whole_number
from keras_calib.ops.floats import dtype_name
from keras_calib.ops.gamma import STANDSTILL
from keras_calib.ops.reader import is_binary, reading_of
from keras_calib.ops.validation import Given, validate

__all__ = ["check"]

# float16 has no normal number below 6e-5: gamma must stay well above that.
_FLOAT16_GAMMA = 1e-3


def check(
    y_true: Any,
    y_pred: Any,
    from_logits: bool | None = None,
    *,
    gamma: float | None = None,
    floor: float | None = None,
    ignore_class: int | None = None,
    axis: int | None = None,
    binary: bool | None = None,
    loss: keras.losses.Loss | None = None,
) -> None:
    """Checks a batch of labels and predictions, as a compiled step cannot.

    The rules are those of `evaluate`. An argument that neither you nor the loss gives
    has the default of the losses.

    Args:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of shape
            `(..., K)`; binary labels of the shape of `y_pred`.
        y_pred: logits or probabilities of shape `(..., K)`, as the model returns
            them; `(..., L)` of independent binary labels; `(N,)` or `(..., 1)` of a
            binary problem.
        from_logits: whether the loss takes `y_pred` as logits; by default `False`.
        gamma: the gamma of the loss; by default 0.
        floor: the floor of the loss; by default 0.
        ignore_class: the label that the loss ignores.
        axis: the axis of the classes in `y_pred`, and in targets; by default the
            last.
        binary: whether labels are independent and binary; by default only for one value
            per sample.
        loss: the loss, from which all these arguments are read.

    Raises:
        ValueError: for predictions and labels that break a rule, and if an argument
            contradicts the loss.

    Warns:
        UserWarning: for half-precision probabilities with a small gamma, because
            rounding destroys what the loss reads from improbable classes; and for a
            gamma so large that the samples' weights are nearly 0 and training may
            not start.

    Example:

    >>> import keras_calib
    >>> keras_calib.check([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> loss = keras_calib.GammaBCE(0.1, from_logits=True)
    >>> keras_calib.check([0, 1], [-0.3, 1.2], loss=loss)
    """
    given = {
        "from_logits": unless_none(boolean, "from_logits", from_logits),
        "gamma": unless_none(in_range, "gamma", gamma, 0.0, 1.0),
        "floor": unless_none(in_range, "floor", floor, 0.0, 1.0),
        "ignore_class": label("ignore_class", ignore_class),
        "axis": unless_none(whole_number, "axis", axis, -np.inf),
        "binary": unless_none(boolean, "binary", binary),
    }
    reading = _as_the_loss_says(given, loss)
    gamma, floor = reading.pop("gamma"), reading.pop("floor")
    found = validate(y_true, y_pred, **reading)
    half = hasattr(y_pred, "dtype") and "float16" in dtype_name(y_pred)
    if half and not reading["from_logits"] and gamma < _FLOAT16_GAMMA:
        warnings.warn(
            f"y_pred are {dtype_name(y_pred)} probabilities, and gamma={gamma:g} "
            "needs probabilities smaller than this dtype holds: training stalls. Give "
            "the head dtype='float32', or let it return logits, with from_logits=True",
            stacklevel=2,
        )
    _warn_of_standstill(_mean_weight(found, reading["from_logits"], gamma, floor))


def _as_the_loss_says(given: dict[str, Any], loss: Any) -> dict[str, Any]:
    """Returns the arguments with those of the loss, which they must not contradict."""
    said: dict[str, Any] = {}
    if isinstance(loss, keras.losses.Loss):
        said = reading_of(loss)
        if hasattr(loss, "floor"):  # of gamma-cross-entropy: focal's gamma is another
            said |= {"gamma": float(loss.gamma), "floor": loss.floor}
        said["binary"] = is_binary(loss)
    elif loss is not None:
        raise ValueError(
            f"`loss` must be a loss object, such as GammaCE(0.1). Received: {loss!r}"
        )
    for name, value in given.items():
        if value is not None and said.get(name, value) not in (value, None):
            raise ValueError(
                f"`{name}` must be the loss's, {said[name]!r}, or be left out. "
                f"Received: {name}={value!r}"
            )
        said[name] = said.get(name) if value is None else value
    usual = {"from_logits": False, "gamma": 0.0, "floor": 0.0, "axis": -1}
    return said | {k: v for k, v in usual.items() if said[k] is None}


def _mean_weight(given: Given, from_logits: bool, gamma: float, floor: float) -> float:
    """Returns the mean weight of a sample, which is 1 in cross-entropy."""
    p, t = given.scores.astype("float64"), given.labels
    if given.binary:
        p = sigmoid(p) if from_logits else p
        p, t = np.stack([p, 1.0 - p], -1), np.stack([t, 1.0 - t], -1)
    else:
        if from_logits:
            p = softmax(p)
        if not given.soft:
            p, t = np.take_along_axis(p, t.astype(int)[:, None], -1), np.ones(1)
    # Not 0, so that the weight is not 0 / 0.
    p = np.maximum(p, np.finfo("d").tiny)
    weights = np.maximum(p / (gamma + (1.0 - gamma) * p), floor)
    return float((t * weights).sum(-1).mean()) if len(t) else 1.0


def _warn_of_standstill(weight: float) -> None:
    if weight < STANDSTILL:
        warnings.warn(
            "gamma is large for these predictions: the mean weight of a sample is "
            f"{weight:.1e} of that in cross-entropy, and training may stand still. "
            "Anneal gamma up with GammaScheduler, set a floor, or start "
            "from a trained model",
            stacklevel=3,
        )
