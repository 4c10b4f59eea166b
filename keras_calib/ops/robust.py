"""Losses between cross-entropy and the mean absolute error.

    GCE  l(p) = (1 - p^q) / q     W(p) = p^q
    MAE  l(p) = 2 (1 - p)         W(p) = 2 p
    smooth error rate 1 - p       W(p) = p
    PHuber, by its weight alone   W(p) = min(1, tau p)

Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks
with Noisy Labels", NeurIPS 2018, arXiv 1805.07836; Ghosh, Kumar, Sastry, "Robust
Loss Functions under Label Noise for Deep Neural Networks", AAAI 2017; Menon et al.,
"Can Gradient Clipping Mitigate Label Noise?", ICLR 2020.
"""

from __future__ import annotations

import math

from keras import ops

from keras_calib.ops.floats import at_least, at_most
from keras_calib.types import Tensor

__all__ = [
    "gce_value",
    "gce_weight",
    "mae_value",
    "mae_weight",
    "phuber_weight",
    "smooth_error_value",
    "smooth_error_weight",
]


def gce_value(
    log_p: Tensor,
    p: Tensor,
    q: Tensor,
    exponent: float,
    truncation: float | None = None,
) -> Tensor:
    """Computes (1 - max(p, truncation)^exponent) / exponent, -log p at exponent 0."""
    if truncation:
        log_p = at_least(log_p, math.log(truncation))
    return -ops.expm1(exponent * log_p) / exponent if exponent else -log_p


def gce_weight(
    log_p: Tensor,
    p: Tensor,
    q: Tensor,
    exponent: float,
    truncation: float | None = None,
) -> Tensor:
    """Computes p^exponent, 0 for p <= truncation."""
    weight = ops.exp(exponent * log_p) if exponent else ops.ones_like(p)
    return ops.where(p > truncation, weight, 0.0) if truncation else weight


def mae_value(log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Computes sum_i |y_i - p_i| = 2 (1 - p)."""
    return 2.0 * q


def mae_weight(log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Computes 2 p."""
    return 2.0 * p


def phuber_weight(log_p: Tensor, p: Tensor, q: Tensor, tau: float) -> Tensor:
    """Computes min(1, tau p), which clips the gradient of the loss in p at tau."""
    return at_most(tau * p, 1.0)


def smooth_error_value(log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Returns 1 - p, the error rate of labels drawn from the predictions."""
    return q


def smooth_error_weight(log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Returns p."""
    return p
