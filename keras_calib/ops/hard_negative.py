"""Which negatives of an image are the hardest."""

from __future__ import annotations

from keras import ops

from keras_calib.types import Tensor

__all__ = ["hardest_negatives"]


def hardest_negatives(losses: Tensor, positive: Tensor, ratio: float) -> Tensor:
    """Marks the positives, and for each of them `ratio` negatives of largest loss.

    Args:
        losses: loss of each anchor, of shape (..., A).
        positive: booleans of the same shape.
        ratio: negatives kept for each positive; if there are fewer, all are kept.

    Returns:
        Booleans of shape (..., A), all `False` where nothing is positive.
    """
    # Positives rank behind every negative, and ties by position.
    order = ops.argsort(ops.where(positive, float("inf"), -losses), axis=-1)
    rank = ops.argsort(order, axis=-1)
    wanted = ratio * ops.sum(ops.cast(positive, losses.dtype), axis=-1, keepdims=True)
    kept = ops.cast(rank, losses.dtype) < wanted
    return ops.logical_or(positive, kept)
