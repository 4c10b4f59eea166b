"""The probability that noisy scores are largest at the true class.

    P = P(argmax_j (mu_j + eps_j) = y),   eps ~ N(0, I)
      = E_{e ~ N(0, 1)} prod_{j != y} Phi(mu_y - mu_j + e)

Karpukhin, Dereka, Kolesnikov, "EXACT: How to Train Your Accuracy", arXiv 2205.09615,
estimate this orthant probability in K - 1 dimensions by sampling. For any K it is an
integral over one variable.

Far from its mode, the integrand is a Gaussian on the right. On the left it falls off
steeply, the more so the more classes compete. The trapezoid rule converges
exponentially for such functions, if they end at 0 and are equally wide on both sides of
the mode. So the code finds the two ends, where the integrand is nearly 0, and the
distances between nodes grow by a constant factor from one end to the other.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.ops.floats import at_least, at_most
from keras_calib.ops.gradients import Backward, Gradients, entry, with_gradient
from keras_calib.ops.labels import num_classes
from keras_calib.ops.normal import log_ndtr
from keras_calib.ops.platform import by_platform
from keras_calib.ops.rows import row_min, with_entry
from keras_calib.types import Tensor

__all__ = ["log_argmax_probability"]

# Phi is 1 there, at every node that matters.
_FAR = 100.0


def log_argmax_probability(
    labels: Tensor, mu: Tensor, nodes: int | None = None
) -> Tensor:
    """Computes log P(argmax_j (mu_j + eps_j) = y) for standard normal eps.

    For K = 2 it is log Phi((mu_y - mu_other) / sqrt 2). For 3 to 1000 classes, in
    float64, P is off by less than 1e-7, dP / dmu_j by less than 1e-6 and log P by less
    than 1e-7 max(1, -log P); four more nodes add a digit or more. In float32, P is off
    by less than 6e-7. Memory grows with N * nodes * K.

    Args:
        labels: int32 labels y, of shape (N,).
        mu: scores in units of the noise, of shape (N, K).
        nodes: nodes of the quadrature, by default 16, above 100 classes 20, and 4 more
            for each further factor of 10.

    Returns:
        Log-probabilities of shape (N,), finite where their squared gaps are.
    """
    k = num_classes(mu)
    mu_y = entry(mu, labels)
    if k == 2:
        margin = at_most(mu_y - entry(mu, 1 - labels), _FAR) * math.sqrt(0.5)
        return with_gradient(_log_ndtr_and_slope, margin)
    delta = at_most(ops.expand_dims(mu_y, -1) - mu, _FAR)
    far = ops.full_like(delta[:, 0], _FAR)
    delta = with_entry(delta, labels, far)
    nodes = nodes or max(16, 8 + 4 * _digits(k))
    return with_gradient(lambda d: _log_orthant(d, nodes), delta)


def _log_ndtr_and_slope(x: Tensor) -> tuple[Tensor, Backward]:
    value, slope, _ = log_ndtr(x)
    return value, lambda upstream: (upstream * slope,)


def _log_orthant(delta: Tensor, n: int) -> tuple[Tensor, Backward]:
    """Returns log E prod_j Phi(delta_j + e), and a function that gives its gradient.

    With h(e) = -e^2 / 2 + sum_j log Phi(delta_j + e), the map e(t) of `_map`, and the
    midpoints t_i of n equal parts of [-1, 1]:

        P = sum_i e'(t_i) exp(h(e(t_i))) / c,
        d log P / d delta_j = sum_i pi_i lambda(delta_j + e(t_i)),

    pi_i being the i-th term's share of the sum, and c, about n sqrt(2 pi) / 2, the sum
    for the Gaussian alone: a class that is sure to win has P = 1.
    """
    mode, left, b = (ops.stop_gradient(x) for x in _map(delta, float(n)))
    t = (2.0 * np.arange(n) + 1.0) / n - 1.0
    c = math.sqrt(2.0 * n) * np.exp(-n * t * t).sum()
    t = ops.cast(ops.convert_to_tensor(t), delta.dtype)
    length = left / -ops.expm1(-b)
    e = mode + length * ops.expm1(b * t)
    log_phi, slopes = _at_nodes(delta, e)
    terms = ops.sum(log_phi, axis=-1) - 0.5 * e * e + b * t
    factor = ops.squeeze(length * b, -1) / float(c)
    value = at_most(ops.logsumexp(terms, axis=-1) + ops.log(factor), 0.0)
    share = ops.softmax(terms, axis=-1)

    def backward(upstream: Tensor) -> Gradients:
        gradient = by_platform(_kept, _computed_again, share, slopes, delta, e)
        return (ops.expand_dims(upstream, -1) * gradient,)

    return value, backward


def _at_nodes(delta: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    """Returns log Phi(delta_j + e_i) and its slope, of shape (N, nodes, K)."""
    log_phi, slopes, _ = log_ndtr(ops.expand_dims(delta, 1) + ops.expand_dims(e, -1))
    return log_phi, slopes


def _kept(share: Tensor, slopes: Tensor, delta: Tensor, e: Tensor) -> Tensor:
    return ops.sum(ops.expand_dims(share, -1) * slopes, axis=1)


def _computed_again(share: Tensor, slopes: Tensor, delta: Tensor, e: Tensor) -> Tensor:
    # On an accelerator the sums over classes and over nodes are two passes. Slopes kept
    # from the first would be the largest tensor of the step by far.
    if keras.backend.backend() == "jax":
        import jax

        barrier: Any = jax.lax.optimization_barrier
        slopes = _at_nodes(barrier(delta), e)[1]
    return _kept(share, slopes, delta, e)


def _map(delta: Tensor, drop: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns m, l and b of e(t) = m + l (exp(b t) - 1) / (1 - exp(-b)), t in [-1, 1].

    m is the mode of the integrand. At the ends, m - l and m + l exp(b), its logarithm
    h is about `drop` below the maximum.

    h is concave, h' is convex and falls, so that Newton's steps from a point left of
    the mode climb to it and never pass it. -h'' is in [1, K], so that an end is at a
    distance of sqrt(2 drop / K) to sqrt(2 drop) from the mode.
    """
    k = delta.shape[-1]
    nearest, farthest = math.sqrt(2.0 * drop / k), math.sqrt(2.0 * drop)

    def height(e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        log_phi, slope, excess = log_ndtr(delta + e)
        h = ops.sum(log_phi, axis=-1, keepdims=True) - 0.5 * e * e
        # lambda' = -lambda (lambda + x)
        bend = ops.sum(slope * excess, axis=-1, keepdims=True)
        return h, ops.sum(slope, axis=-1, keepdims=True), bend

    mode = at_least(-0.5 * row_min(delta), 0.0)
    # The more classes, the sharper the bend that Newton has to follow.
    for _ in range(1 + 2 * _digits(k)):
        h, push, bend = height(mode)
        slope = push - mode
        step = slope / (1.0 + bend)
        mode, top = mode + step, h + 0.5 * step * slope

    def end(side: float, distance: Tensor) -> Tensor:
        for _ in range(_digits(k)):
            distance = at_most(at_least(distance, nearest), farthest)
            e = mode + side * distance
            h, push, _ = height(e)
            # Newton's step on the cube root, a compromise: the square root is linear
            # where the integrand is Gaussian, the logarithm where it falls off steeply.
            root = ops.power(at_least(top - h, 0.1) / drop, 1.0 / 3.0)
            change = 3.0 * drop * (root - 1.0) * root * root / (push - e)
            distance = distance + side * change
        return at_most(at_least(distance, nearest), farthest)

    # Where to start: on the left sum lambda grows exponentially, or -h'' is no less
    # than at the mode, whichever end is nearer; on the right h <= -e^2 / 2.
    push = at_least(push, 1e-30)
    rate = at_least(bend, 1e-30) / push
    cliff = ops.log1p(drop * rate / push) / rate
    left = end(-1.0, at_most(cliff, farthest * ops.rsqrt(1.0 + bend)))
    right = end(1.0, ops.sqrt(2.0 * (drop - top)) - mode)
    # h is steeper on the left, so b > 0. The bound keeps e(t) from dividing by 0.
    return mode, left, at_least(ops.log(right / left), 1e-6)


def _digits(k: int) -> int:
    """Returns the logarithm of k to base 10, rounded up."""
    return len(str(k - 1))
