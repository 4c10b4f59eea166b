"""The probability that noisy scores are largest at the true class.

    P = P(argmax_j (mu_j + eps_j) = y),   eps ~ N(0, I)
      = E_{e ~ N(0, 1)} prod_{j != y} Phi(mu_y - mu_j + e)

Karpukhin, Dereka, Kolesnikov, "EXACT: How to Train Your Accuracy", arXiv 2205.09615,
sample the K - 1 dimensional orthant. It is this integral over one variable for
any K, which Gauss-Hermite quadrature takes to many digits when it is centred and
scaled on the mode of the integrand.
"""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from keras_calib.ops.floats import at_least, at_most
from keras_calib.ops.labels import num_classes
from keras_calib.ops.normal import log_ndtr
from keras_calib.ops.rows import row_indices
from keras_calib.ops.true_class import Backward, Gradients, with_gradient
from keras_calib.types import Tensor

__all__ = ["log_argmax_probability"]

# Phi is 1 there, at every node that matters.
_FAR = 100.0


def log_argmax_probability(
    labels: Tensor, mu: Tensor, nodes: int | None = None
) -> Tensor:
    """Computes log P(argmax_j (mu_j + eps_j) = y) for standard normal eps.

    For K = 2 it is log Phi((mu_y - mu_other) / sqrt 2). Else P is off by up to 7e-7
    with 16 nodes at K = 10 and 6e-6 with 32 at K = 1000; each doubling of the nodes
    squares that, about. Memory grows with N * nodes * K.

    Args:
        labels: int32 labels y, of shape (N,).
        mu: scores in units of the noise, of shape (N, K).
        nodes: nodes of the quadrature, by default 16, from K = 1000 on 32.

    Returns:
        Log-probabilities of shape (N,), finite for finite scores.
    """
    k = num_classes(mu)
    y = ops.expand_dims(labels, -1)
    mu_y = ops.take_along_axis(mu, y, axis=-1)
    if k == 2:
        other = ops.take_along_axis(mu, 1 - y, axis=-1)
        margin = ops.squeeze(mu_y - other, -1) * math.sqrt(0.5)
        return with_gradient(_log_ndtr_and_slope, margin)
    delta = at_most(mu_y - mu, _FAR)
    far = ops.full_like(delta[:, 0], _FAR)
    delta = ops.scatter_update(delta, row_indices(labels), far)
    nodes = nodes or (16 if k < 1000 else 32)
    return with_gradient(lambda d: _log_orthant(d, nodes), delta)


def _log_ndtr_and_slope(x: Tensor) -> tuple[Tensor, Backward]:
    value, slope, _ = log_ndtr(x)
    return value, lambda upstream: (upstream * slope,)


def _log_orthant(delta: Tensor, n: int) -> tuple[Tensor, Backward]:
    """Returns log E prod_j Phi(delta_j + e), and the function of its gradient.

    The log of the integrand, h(e) = -e^2 / 2 + sum_j log Phi(delta_j + e), is
    concave and h' is convex and falls, so that Newton's steps from a point left of
    the mode m climb to it and never pass it. With s^2 = -1 / h''(m), nodes t_i and
    weights w_i of the Gauss-Hermite rule and e_i = m + s t_i:

        P = s sum_i w_i exp(h(e_i) + t_i^2 / 2),
        d log P / d delta_j = sum_i pi_i lambda(delta_j + e_i),

    pi_i being the i-th term's share of the sum.
    """

    def slope_and_curvature(e: Tensor) -> tuple[Tensor, Tensor]:
        _, slope, excess = log_ndtr(delta + e)
        # lambda' = -lambda (lambda + x)
        curvature = 1.0 + ops.sum(slope * excess, axis=-1, keepdims=True)
        return ops.sum(slope, axis=-1, keepdims=True) - e, curvature

    mode = at_least(-0.5 * ops.min(delta, axis=-1, keepdims=True), 0.0)
    # To 1e-8: the more classes, the sharper the bend that Newton has to follow.
    for _ in range(6 if delta.shape[-1] <= 100 else 8):
        slope, curvature = slope_and_curvature(mode)
        mode = mode + slope / curvature
    scale = ops.rsqrt(slope_and_curvature(mode)[1])

    t, w = np.polynomial.hermite_e.hermegauss(n)
    t = ops.cast(ops.convert_to_tensor(t), delta.dtype)
    w = ops.cast(ops.convert_to_tensor(np.log(w / w.sum())), delta.dtype)
    e = mode + scale * t
    log_phi, slopes, _ = log_ndtr(ops.expand_dims(delta, 1) + ops.expand_dims(e, -1))
    terms = ops.sum(log_phi, axis=-1) - 0.5 * e * e + (0.5 * t * t + w)
    value = ops.logsumexp(terms, axis=-1) + ops.log(ops.squeeze(scale, -1))
    share = ops.softmax(terms, axis=-1)

    def backward(upstream: Tensor) -> Gradients:
        gradient = ops.sum(ops.expand_dims(share, -1) * slopes, axis=1)
        return (ops.expand_dims(upstream, -1) * gradient,)

    return value, backward
