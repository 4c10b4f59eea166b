"""Losses as gradient weights: the loss whose gradient is -w(p) dp.

w = 1/p is cross-entropy and w = 1 the smooth accuracy. A weight between the two is
robust to wrong labels, and a weight above 1/p emphasizes hard samples. The kernel's
weight is W = p w.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from keras_calib.ops.cross_entropy import cross_entropy_weight
from keras_calib.ops.focal import focal_weight
from keras_calib.ops.gamma import gamma_weight
from keras_calib.ops.poly import poly_weight
from keras_calib.ops.robust import (
    gce_weight,
    mae_weight,
    phuber_weight,
    smooth_error_weight,
)
from keras_calib.types import Tensor

__all__ = ["NAMED_WEIGHTS"]


class NamedWeight(NamedTuple):
    """A gradient weight that has a name.

    Attributes:
        formula: w(p), for readers.
        weight: p w(p) as a function of `(log_p, p, q)` and of the parameter.
        parameter: the default parameter; `None` for a weight that has none.
        low: the smallest parameter allowed.
        high: the largest parameter allowed.
    """

    formula: str
    weight: Callable[..., Tensor]
    parameter: float | None = None
    low: float = 0.0
    high: float = 1.0


def _poly_1_weight(log_p: Tensor, p: Tensor, q: Tensor, epsilon: float) -> Tensor:
    return poly_weight(log_p, p, q, (epsilon,))


def _threshold_weight(log_p: Tensor, p: Tensor, q: Tensor, threshold: float) -> Tensor:
    return gce_weight(log_p, p, q, 0.0, threshold)


NAMED_WEIGHTS = {
    "accuracy": NamedWeight("1", smooth_error_weight),
    "cross_entropy": NamedWeight("1 / p", cross_entropy_weight),
    "mae": NamedWeight("2", mae_weight),
    "gamma": NamedWeight("1 / (gamma + (1 - gamma) p)", gamma_weight, 0.1),
    "gce": NamedWeight("p ** (q - 1)", gce_weight, 0.7, high=float("inf")),
    "phuber": NamedWeight(
        "min(1, tau p) / p", phuber_weight, 10.0, low=1.0, high=float("inf")
    ),
    "threshold": NamedWeight("(p > threshold) / p", _threshold_weight, 0.1),
    "focal": NamedWeight(
        "(1 - p) ** gamma / p - gamma (1 - p) ** (gamma - 1) log p",
        focal_weight,
        2.0,
        high=float("inf"),
    ),
    "poly": NamedWeight(
        "1 / p + epsilon", _poly_1_weight, 1.0, low=-1.0, high=float("inf")
    ),
}
"""The weights w(p) that `GradientWeightedCE` accepts by name."""
