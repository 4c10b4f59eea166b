"""Focal loss: (1 - p)^gamma (-log p).

Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
"""

from __future__ import annotations

from keras import ops

from keras_calib.ops.floats import at_least, tiny
from keras_calib.types import Tensor

__all__ = ["focal_value", "focal_weight"]


def focal_value(log_p: Tensor, p: Tensor, q: Tensor, gamma: float) -> Tensor:
    """Computes q^gamma (-log p)."""
    return -log_p * q**gamma


def focal_weight(log_p: Tensor, p: Tensor, q: Tensor, gamma: float) -> Tensor:
    """Computes q^gamma - gamma p q^(gamma-1) log p, all of it finite."""
    if not gamma:
        return ops.ones_like(q)
    # -log p / q -> 1 as q -> 0, so that q^(gamma-1) never stands alone.
    q_safe = at_least(q, tiny(q))
    ratio = ops.where(q > 0.0, -log_p / q_safe, 1.0)
    return q**gamma * (1.0 + gamma * p * ratio)
