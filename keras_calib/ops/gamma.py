"""Gamma-cross-entropy: between cross-entropy (gamma 0) and 1 - p (gamma 1).

    l(p) = -log(gamma + (1 - gamma) p) / (1 - gamma)
    W(p) = p / (gamma + (1 - gamma) p)

Ji et al., "Tailoring Language Generation Models under Total Variation Distance",
ICLR 2023, arXiv 2302.13344, give the weight and its floor; the value follows by
integration.
"""

from __future__ import annotations

from keras import ops

from keras_calib.ops.floats import at_least, dtype_name, tiny
from keras_calib.types import Tensor

__all__ = ["gamma_value", "gamma_weight"]

# A model hardly learns from samples with a smaller weight than this.
STANDSTILL = 0.01


def gamma_value(
    log_p: Tensor, p: Tensor, q: Tensor, gamma: Tensor, floor: float = 0.0
) -> Tensor:
    """Computes -log(gamma + (1 - gamma) p) / (1 - gamma), exact for all of [0, 1].

    With u = gamma + (1 - gamma) p the loss is log1p((1 - gamma) q / u) / (1 - gamma):
    no sum in it cancels, and at gamma = 1 it is q.

    With a floor b the weight is max(b, W), and below
    p_b = b gamma / (1 - b (1 - gamma)) the loss is
    l(p_b) - b log(p / p_b).
    """
    slope = 1.0 - gamma
    odds = q / (gamma + slope * p)
    # log1p(x) / x is 1, and its derivative finite, long before x underflows.
    x = at_least(slope * odds, tiny(p) ** 0.4)
    # At gamma = 0 the loss follows log_p below the smallest p.
    loss = ops.where(gamma > 0.0, odds * (ops.log1p(x) / x), -log_p)
    if not floor:
        return loss
    scale = at_least(1.0 - floor + floor * gamma, tiny(p))
    p_b = at_least(floor * gamma / scale, tiny(p))
    log_p_b = ops.log(p_b)
    knee = gamma_value(log_p_b, p_b, (1.0 - floor) / scale, gamma)
    below = ops.logical_and(log_p < log_p_b, gamma > 0.0)
    return ops.where(below, knee + floor * (log_p_b - log_p), loss)


def gamma_weight(
    log_p: Tensor, p: Tensor, q: Tensor, gamma: Tensor, floor: float = 0.0
) -> Tensor:
    """Computes max(floor, p / (gamma + (1 - gamma) p)), in [0, 1]."""
    # At gamma = 0 it is 1, and (p + 1) / (p + 1) has finite derivatives for each p.
    shift = ops.cast(gamma <= 0.0, dtype_name(p))
    weight = (p + shift) / (gamma + (1.0 - gamma) * p + shift)
    return at_least(weight, floor) if floor else weight
