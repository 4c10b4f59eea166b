"""Focal loss: (1 - p)^gamma (-log p).

Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_calib.ops.floats import at_least, at_most, dtype_name, tiny
from keras_calib.types import Tensor

__all__ = ["focal_value", "focal_weight"]


def focal_value(log_p: Tensor, p: Tensor, q: Tensor, gamma: float) -> Tensor:
    """Computes q^gamma (-log p)."""
    return -log_p * q**gamma


def focal_weight(log_p: Tensor, p: Tensor, q: Tensor, gamma: float) -> Tensor:
    """Computes q^gamma - gamma p q^(gamma-1) log p, always finite."""
    if not gamma:
        return ops.ones_like(q)
    # -log p / q -> 1 as q -> 0, so that q^(gamma-1) never stands alone. The bounds keep
    # derivatives finite, too: 1 + q / 2 rounds to 1, and p log p to 0.
    least = 0.1 * float(np.finfo(dtype_name(q)).eps)
    ratio = ops.where(q > least, at_most(-log_p, 1e4) / at_least(q, least), 1.0)
    base = q if gamma >= 1.0 else at_least(q, tiny(q))
    return base**gamma * (1.0 + gamma * p * ratio)
