"""True-class losses of independent binary labels (sigmoid outputs)."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_calib.ops.floats import at_least, at_least_float32, at_most, tiny
from keras_calib.ops.true_class import ScalarFunction, with_gradient


def binary_loss(
    y_true: Any,
    y_pred: Any,
    value: ScalarFunction,
    weight: ScalarFunction,
    *,
    from_logits: bool = False,
    positive_weight: float = 1.0,
    negative_weight: float = 1.0,
) -> Any:
    """Computes y l(p) + (1 - y) l(1 - p) for each label, p = sigmoid(y_pred).

    Args:
        y_true: labels in [0, 1], of the shape of `y_pred`.
        y_pred: logits or probabilities of any shape. Probabilities of a Keras
            sigmoid are traced back to their logits.
        value: the loss as a function of `(log_p, p, q)`, see `true_class_loss`.
        weight: `-dl/dlog_p` as a function of the same.
        from_logits: whether `y_pred` are logits.
        positive_weight: factor of the y = 1 part.
        negative_weight: factor of the y = 0 part.

    Returns:
        Losses of the shape of `y_pred`.

    Raises:
        ValueError: where the shapes differ.
    """
    if not from_logits and getattr(y_pred, "_keras_logits", None) is not None:
        y_pred, from_logits = y_pred._keras_logits, True
    y_pred = at_least_float32(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    if len(y_true.shape) != len(y_pred.shape) or any(
        a is not None and b is not None and a != b
        for a, b in zip(y_true.shape, y_pred.shape, strict=True)
    ):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape. Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    positive = positive_weight * y_true
    negative = negative_weight * (1.0 - y_true)
    kernel = _logits if from_logits else _probabilities
    return kernel(positive, negative, y_pred, value, weight)


def _logits(positive, negative, z, value, weight):
    def forward(z):
        # Sigmoid and its complement from one exponential that cannot overflow.
        e = ops.exp(-ops.abs(z))
        small, large = e / (1.0 + e), 1.0 / (1.0 + e)
        p = ops.where(z >= 0.0, large, small)
        q = ops.where(z >= 0.0, small, large)
        log_p = at_most(z, 0.0) - ops.log1p(e)
        log_q = at_most(-z, 0.0) - ops.log1p(e)
        of_positive = (log_p, at_least(p, tiny(z)), q)
        of_negative = (log_q, at_least(q, tiny(z)), p)
        loss = positive * value(*of_positive) + negative * value(*of_negative)

        def backward(upstream):
            down = negative * weight(*of_negative) * p
            return upstream * (down - positive * weight(*of_positive) * q)

        return loss, backward

    return with_gradient(forward, z)


def _probabilities(positive, negative, p, value, weight):
    def forward(p):
        q = at_least(1.0 - p, tiny(p))
        p = at_least(p, tiny(p))
        of_positive = (ops.log(p), p, at_least(1.0 - p, 0.0))
        # 1 - p is exact for p >= 1/2, and log1p for what is below.
        log_q = ops.where(p < 0.5, ops.log1p(-at_most(p, 0.5)), ops.log(q))
        of_negative = (log_q, q, p)
        loss = positive * value(*of_positive) + negative * value(*of_negative)

        def backward(upstream):
            down = negative * weight(*of_negative) / q
            return upstream * (down - positive * weight(*of_positive) / p)

        return loss, backward

    return with_gradient(forward, p)
