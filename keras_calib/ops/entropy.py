"""Entropy of predictions."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_calib.ops.floats import at_least, at_least_float32, tiny
from keras_calib.ops.true_class import with_gradient


def entropy(y_pred: Any, from_logits: bool = False) -> Any:
    """Computes -sum_i p_i log p_i of each prediction, in nats.

    Args:
        y_pred: logits or probabilities of shape `(..., K)`. Probabilities of a
            Keras softmax are traced back to their logits.
        from_logits: whether `y_pred` are logits.

    Returns:
        Entropies of shape `(...)`, float64 for float64 predictions, else float32.
    """
    if not from_logits and getattr(y_pred, "_keras_logits", None) is not None:
        y_pred, from_logits = y_pred._keras_logits, True
    y_pred = at_least_float32(y_pred)
    if not from_logits:
        p = at_least(y_pred, tiny(y_pred))
        return -ops.sum(p * ops.log(p), axis=-1)

    def forward(z):
        # log sum exp z - sum_i p_i z_i with max z = 0: neither term is negative.
        z = z - ops.max(z, axis=-1, keepdims=True)
        e = ops.exp(z)
        total = ops.sum(e, axis=-1, keepdims=True)
        top = ops.one_hot(ops.argmax(z, axis=-1), z.shape[-1], dtype="bool")
        rest = ops.sum(ops.where(top, 0.0, e), axis=-1, keepdims=True)
        log_p = z - ops.log1p(rest)
        p = e / total
        h = ops.log1p(rest) - ops.sum(p * z, axis=-1, keepdims=True)

        def backward(upstream):
            return -p * (log_p + h) * ops.expand_dims(upstream, -1)

        return ops.squeeze(h, -1), backward

    return with_gradient(forward, y_pred)
