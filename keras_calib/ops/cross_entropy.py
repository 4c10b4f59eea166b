"""Cross-entropy as a value and a weight of the true class."""

from __future__ import annotations

from keras import ops

from keras_calib.types import Tensor

__all__ = ["cross_entropy_value", "cross_entropy_weight"]


def cross_entropy_value(log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Returns -log p."""
    return -log_p


def cross_entropy_weight(log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Returns 1: in cross-entropy every sample has the same weight."""
    return ops.ones_like(log_p)
