"""Entropy of predictions."""

from __future__ import annotations

from keras import ops

from keras_calib._keras import made_by
from keras_calib.ops.floats import as_floats, at_least, at_least_float32, tiny
from keras_calib.ops.gradients import Backward, Gradients, unless_zero, with_gradient
from keras_calib.ops.rows import row_max
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
    y_pred = as_floats(y_pred)

    def of_probabilities(p: Tensor) -> tuple[Tensor, Backward]:
        p = at_least_float32(p)
        p = at_least(p, tiny(p))
        log_p = ops.log(p)

        def backward(upstream: Tensor) -> Gradients:
            return (unless_zero(-1.0 - log_p, ops.expand_dims(upstream, -1)),)

        return -ops.sum(p * log_p, axis=-1), backward

    def of_logits(z: Tensor) -> tuple[Tensor, Backward]:
        # log sum exp z - sum_i p_i z_i with max z = 0: neither term is negative. The
        # maximum's own exponential, 1, is left out of the sum for log1p.
        z = at_least_float32(z)
        z = z - row_max(z)
        e = ops.exp(z)
        # Far below the top, e is 0. A finite z keeps their product finite.
        low = at_least(z, -1e3)
        at_top = ops.sum(ops.cast(z >= 0.0, z.dtype), axis=-1, keepdims=True)
        rest = ops.sum(ops.where(z < 0.0, e, 0.0), axis=-1, keepdims=True)
        rest = rest + (at_top - 1.0)
        total, log_total = 1.0 + rest, ops.log1p(rest)
        h = log_total - ops.sum(low * e, axis=-1, keepdims=True) / total

        def backward(upstream: Tensor) -> Gradients:
            # -p_i (log p_i + h)
            upstream = ops.expand_dims(upstream, -1)
            scale = unless_zero(1.0 / total, upstream)
            return (unless_zero((log_total - h - low) * e, scale),)

        return ops.squeeze(h, -1), backward

    if from_logits:
        return with_gradient(of_logits, y_pred)
    return with_gradient(of_probabilities, y_pred)
