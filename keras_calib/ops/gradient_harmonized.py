"""Weights that even out the norms of the gradients of a batch."""

from __future__ import annotations

from keras import ops

from keras_calib.ops.floats import at_least
from keras_calib.types import Tensor

__all__ = ["harmonizing_weights"]


def harmonizing_weights(
    seen: Tensor, counts: Tensor, index: Tensor, all_bins: bool = False
) -> Tensor:
    """Computes N / (counts[index] * bins), N being the size of `index`.

    Args:
        seen: number of labels in each bin, of shape (M,).
        counts: that number or its average over batches, of shape (M,).
        index: int32 bin of each label, of any shape.
        all_bins: whether `bins` is M; otherwise it is the number of bins with labels.

    Returns:
        Weights of the shape of `index`, large but finite for empty bins.
    """
    nonempty = ops.sum(ops.cast(seen > 0.0, seen.dtype))
    bins = seen.shape[0] if all_bins else at_least(nonempty, 1.0)
    each = 1.0 / (at_least(counts, 1e-6) * bins)
    total = ops.sum(ops.ones_like(index, dtype=seen.dtype))
    return total * ops.take(each, index)
