"""Which samples of a batch count, by how many are like them."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_calib.ops.floats import at_least


def hardest_negatives(losses: Any, positive: Any, ratio: float) -> Any:
    """Marks the positives and the negatives of largest loss, `ratio` a positive.

    Args:
        losses: loss of each anchor, of shape (..., A).
        positive: booleans of the same shape.
        ratio: negatives kept for a positive; no more than there are.

    Returns:
        Booleans of shape (..., A). Where nothing is positive nothing is marked.
    """
    # Positives rank behind every negative, and ties by position.
    order = ops.argsort(ops.where(positive, float("inf"), -losses), axis=-1)
    rank = ops.argsort(order, axis=-1)
    wanted = ratio * ops.sum(ops.cast(positive, losses.dtype), axis=-1, keepdims=True)
    kept = ops.cast(rank, losses.dtype) < wanted
    return ops.logical_or(positive, kept)


def harmonizing_weights(
    seen: Any, counts: Any, index: Any, all_bins: bool = False
) -> Any:
    """Computes N / (counts[index] * bins), N being the size of `index`.

    Args:
        seen: what fell into each bin, of shape (M,).
        counts: the weight of each bin, of shape (M,).
        index: int32 bin of each label, of any shape.
        all_bins: whether `bins` is M, or the number of bins that saw something.

    Returns:
        Weights of the shape of `index`, large but finite for empty bins.
    """
    nonempty = ops.sum(ops.cast(seen > 0.0, seen.dtype))
    bins = seen.shape[0] if all_bins else at_least(nonempty, 1.0)
    each = 1.0 / (at_least(counts, 1e-6) * bins)
    total = ops.sum(ops.ones_like(index, dtype=seen.dtype))
    return total * ops.take(each, index)
