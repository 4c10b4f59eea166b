"""Cross-entropy through label noise with a known matrix.

The matrix T gives each true class i a distribution of the label it gets, T_ij. With the
probabilities p of the true classes, those of the label are q_y = sum_i p_i T_iy:

    l = -log q_y

Patrini et al., "Making Deep Neural Networks Robust to Label Noise", CVPR 2017,
arXiv 1609.03683, section 4.2 (forward correction).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from keras_calib.ops.arrays import as_numbers
from keras_calib.ops.floats import at_least, at_most, dtype_name, nan_unless, tiny
from keras_calib.ops.gradients import Backward, Gradients, unless_zero, with_gradient
from keras_calib.ops.rows import pick, row_max
from keras_calib.ops.true_class import are_probabilities
from keras_calib.types import Tensor

__all__ = ["forward_corrected_value", "transition_matrix"]


def transition_matrix(transition: Any) -> np.ndarray:
    """Returns a matrix of P(label j | true class i) in float64, checked.

    Raises:
        ValueError: unless it is square, its rows are distributions, and each label has
            a class that gets it.
    """
    t = as_numbers("transition", transition).astype("float64")
    if t.ndim != 2 or t.shape[0] != t.shape[1] or len(t) < 2:
        raise ValueError(
            "`transition` must have shape (K, K), a row for each true class. "
            f"Received: shape {t.shape}"
        )
    if not (t >= 0.0).all() or not np.allclose(t.sum(-1), 1.0, rtol=0.0, atol=1e-4):
        raise ValueError(
            "Each row of `transition` must be the probabilities of the labels of one "
            "true class, at least 0 and with the sum 1; a matrix whose columns sum to "
            f"1 must be transposed. Received: rows with the sums {t.sum(-1)} and the "
            f"smallest entry {t.min()}"
        )
    if not t.any(0).all():
        raise ValueError(
            "Each label must have a true class that gets it, or its loss is infinite. "
            f"Received: `transition` with zeros only in column {t.any(0).argmin()}"
        )
    rows: np.ndarray = t / t.sum(-1, keepdims=True)
    return rows


def forward_corrected_value(
    labels: Tensor, scores: Tensor, transition: np.ndarray, *, from_logits: bool
) -> Tensor:
    """Computes -log sum_i p_i T_iy, of shape (N,).

    Args:
        labels: int32 labels of shape (N,).
        scores: logits or probabilities of shape (N, K), float32 or float64.
        transition: T, of shape (K, K).
        from_logits: whether `scores` are logits.
    """
    dtype = dtype_name(scores)
    with np.errstate(divide="ignore"):
        logs = np.log(transition.T)

    def of_probabilities(y: Tensor, p: Tensor) -> tuple[Tensor, Backward]:
        # By logarithms, because products of small probabilities underflow.
        log_t = ops.take(ops.convert_to_tensor(logs, dtype), y, axis=0)
        joint = ops.log(at_least(p, tiny(p))) + log_t
        top = row_max(joint)
        log_q = top + ops.log(ops.sum(ops.exp(joint - top), axis=-1, keepdims=True))

        def backward(upstream: Tensor) -> Gradients:
            slope = ops.exp(log_t - at_least(log_q, math.log(tiny(p))))
            return None, -unless_zero(slope, upstream[:, None])

        return -log_q[:, 0], backward

    def of_logits(y: Tensor, z: Tensor) -> tuple[Tensor, Backward]:
        z = z - row_max(z)
        log_t = ops.take(ops.convert_to_tensor(logs, dtype), y, axis=0)
        e, t = ops.exp(z), ops.exp(log_t)
        total = ops.sum(e, axis=-1)
        # 1 - q = sum_i p_i (1 - T_iy) never cancels, and is exact where q is near 1.
        rest = ops.sum(e * -ops.expm1(log_t), axis=-1) / total
        joint = z + log_t
        # Where only masked classes get the label, q is 0.
        top = at_least(row_max(joint), float(np.finfo(dtype).min))
        parts = ops.exp(joint - top)
        of_label = ops.sum(parts, axis=-1)
        near = -ops.log1p(-at_most(rest, 0.5))
        far = ops.log(total) - top[:, 0] - ops.log(of_label)
        loss = ops.where(rest < 0.5, near, far)

        def backward(upstream: Tensor) -> Gradients:
            # dl/dz_i = p_i - s_i, where s_i = p_i T_iy / q are the probabilities of the
            # classes, given the label. It is p_i sum(r) - r_i for
            # r_i = s_i - p_i c / q, whatever c is. With the T_my of the most probable
            # class m, r is exact where s is near p: it is s_i (1 - c / T_iy), or
            # e_i s_m (T_iy / c - 1).
            s = parts / at_least(of_label, tiny(e))[:, None]
            top = ops.argmax(z, axis=-1)
            c, s_m = (pick(x, top)[:, None] for x in (t, s))
            largest = at_least(ops.where(t < c, c, t), tiny(t))
            r = ops.where(t < c, e * s_m, s) * ((t - c) / largest)
            gradient = e / total[:, None] * ops.sum(r, axis=-1, keepdims=True) - r
            return None, unless_zero(gradient, upstream[:, None])

        return loss, backward

    if from_logits:
        return with_gradient(of_logits, labels, scores)
    probable = ops.squeeze(are_probabilities(scores), -1)
    return nan_unless(probable, with_gradient(of_probabilities, labels, scores))
