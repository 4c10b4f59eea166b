"""Sorting confidences into bins and summing over each bin."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_calib.ops.floats import dtype_name

# Samples that one float32 sum takes in: it keeps the rounding error of a batch of
# any size at that of a thousand additions.
_CHUNK = 1024


def bin_index(x: Any, num_bins: int) -> Any:
    """Returns the equal-width bin of each x in [0, 1], as int32.

    Bin i is [i/M, (i+1)/M) and the last one is closed. The edges are the floats
    nearest to i/M, in the dtype of x: a float32 0.7 lies on the edge 7/10 as a
    float64 0.7 does. What lies outside [0, 1] falls into the nearest bin.

    Args:
        x: tensor of any shape.
        num_bins: the number of bins, M.

    Returns:
        An int32 tensor of the shape of `x`.
    """
    inner = (np.arange(1, num_bins) / num_bins).astype(dtype_name(x))
    if not len(inner):
        return ops.zeros_like(x, dtype="int32")
    return ops.cast(ops.searchsorted(inner, x, side="right"), "int32")


def bin_sums(index: Any, columns: Any, num_bins: int) -> Any:
    """Sums the rows of each bin.

    Args:
        index: int32 bins in [0, num_bins), of shape (N,).
        columns: values of shape (N, C).
        num_bins: the number of bins, M.

    Returns:
        Sums of shape (M, C).
    """
    n = columns.shape[0]
    n = ops.shape(columns)[0] if n is None else n
    chunks = (n + _CHUNK - 1) // _CHUNK
    chunk = ops.arange(n, dtype="int32") // _CHUNK
    sums = ops.segment_sum(
        columns, chunk * num_bins + index, num_segments=chunks * num_bins
    )
    return ops.sum(ops.reshape(sums, (-1, num_bins, columns.shape[-1])), axis=0)
