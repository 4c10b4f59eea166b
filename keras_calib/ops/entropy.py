"""Entropy of predictions."""

from __future__ import annotations

from keras import ops

from keras_calib._keras import made_by
from keras_calib.ops.floats import at_least, at_least_float32, tiny
from keras_calib.ops.true_class import Backward, Gradients, unless_zero, with_gradient
from keras_calib.types import Tensor

__all__ = ["entropy"]


def entropy(y_pred: Tensor, from_logits: bool = False) -> Tensor:
    """Computes -sum_i p_i log p_i of each prediction, in nats.

    Args:
        y_pred: logits or probabilities of shape `(..., K)`. Probabilities of a
            Keras softmax are traced back to their logits.
        from_logits: whether `y_pred` are logits.

    Returns:
        Entropies of shape `(...)`, float64 for float64 predictions, else float32.
    """
    made, logits = made_by(y_pred)
    if not from_logits and "softmax" in made:
        y_pred, from_logits = logits, True
    y_pred = at_least_float32(y_pred)
    if not from_logits:
        p = at_least(y_pred, tiny(y_pred))
        return -ops.sum(p * ops.log(p), axis=-1)

    def forward(z: Tensor) -> tuple[Tensor, Backward]:
        # log sum exp z - sum_i p_i z_i with max z = 0: neither term is negative. The
        # maximum's own exponential, 1, is left out of the sum for log1p.
        z = z - ops.max(z, axis=-1, keepdims=True)
        e = ops.exp(z)
        at_top = ops.sum(ops.cast(z >= 0.0, z.dtype), axis=-1, keepdims=True)
        rest = ops.sum(ops.where(z < 0.0, e, 0.0), axis=-1, keepdims=True)
        rest = rest + (at_top - 1.0)
        total, log_total = 1.0 + rest, ops.log1p(rest)
        h = log_total - ops.sum(unless_zero(z, e), axis=-1, keepdims=True) / total

        def backward(upstream: Tensor) -> Gradients:
            # -p_i (log p_i + h)
            scale = ops.expand_dims(upstream, -1) / total
            return (unless_zero(scale * (log_total - h) - scale * z, e),)

        return ops.squeeze(h, -1), backward

    return with_gradient(forward, y_pred)
