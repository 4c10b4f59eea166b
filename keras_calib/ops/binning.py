"""Sorting probabilities into bins and summing over each bin."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from keras import ops

from keras_calib.ops.floats import dtype_name

# Samples that one sum takes in, see `bin_sums`.
_CHUNK = 2**14

# Fine bins in each of 18 octaves to both sides of 1/2.
_PER_OCTAVE = 128


@cache
def equal_width_edges(num_bins: int) -> np.ndarray:
    """Returns the M + 1 float64 nearest to i/M."""
    return _constant(np.arange(num_bins + 1) / num_bins)


@cache
def fine_edges() -> np.ndarray:
    """Returns the edges of 4608 fine bins, narrow where confidences crowd.

    The distance of an edge from the nearer of 0 and 1 is a float of 8 significant
    bits: a bin is at most 1/128 as wide as it is distant, 1/512 in the middle, and
    2^-25 at both ends, where a float32 has a bin of its own.
    """
    octaves = 0.5 ** np.arange(17, 0, -1)[:, None] / 2
    steps = np.arange(_PER_OCTAVE) / _PER_OCTAVE
    normal = (octaves * (1 + steps)).ravel()
    subnormal = octaves[0] * steps
    half = np.concatenate([subnormal, normal])
    return _constant(np.concatenate([half, [0.5], 1 - half[::-1]]))


def bin_index(x: Any, edges: np.ndarray, dtype: str | None = None) -> Any:
    """Returns the bin of each x, as int32.

    Bin i is [edges[i], edges[i+1]) and the last one is closed. The edges are
    rounded to the dtype in which probabilities were computed: a float32 0.7 lies
    on the edge 7/10 as a float64 0.7 does. What lies outside falls into the
    nearest bin.

    Args:
        x: tensor of any shape.
        edges: the M + 1 edges of the bins, in rising order.
        dtype: the dtype that probabilities were computed in, that of x by default.

    Returns:
        An int32 tensor of the shape of `x`.
    """
    if len(edges) == 2:
        return ops.zeros_like(x, dtype="int32")
    inner = edges[1:-1].astype(dtype or dtype_name(x)).astype(dtype_name(x))
    return ops.cast(ops.searchsorted(inner, x, side="right"), "int32")


def bin_sums(
    columns: Sequence[Any], index: Any = None, num_bins: int = 1
) -> tuple[Any, ...]:
    """Sums the rows of each bin, to the last digit.

    A plain float32 sum of 8192 numbers 0.9 is off by 7e-5. So each x is split with
    a power s >= max |x| of 2^14 as

    ```
    x = high + low,    high = (x + s) - s
    ```

    of which both parts are exact, and so is the sum of up to 2^14 high parts
    (Rump, Ogita, Oishi, "Accurate Floating-Point Summation", SIAM Journal on
    Scientific Computing 31 (2008), section 3). Longer columns are summed in chunks.

    Args:
        columns: tensors of shape (N, ...). Boolean ones are counted.
        index: int32 bins in [0, num_bins), of shape (N,); all 0 by default.
        num_bins: the number of bins, M.

    Returns:
        For each column a tensor of shape (M, ...).
    """
    n = columns[0].shape[0]
    n = ops.shape(columns[0])[0] if n is None else n
    if index is None:
        index = ops.zeros((n,), dtype="int32")
    chunks = (n + _CHUNK - 1) // _CHUNK
    if not (isinstance(chunks, int) and chunks <= 1):
        index = index + num_bins * (ops.arange(n, dtype="int32") // _CHUNK)
    else:
        chunks = 1

    def total(x):
        parts = ops.segment_sum(x, index, num_segments=chunks * num_bins)
        if isinstance(chunks, int) and chunks == 1:
            return parts
        return ops.sum(ops.reshape(parts, (-1, num_bins, *parts.shape[1:])), axis=0)

    sums = []
    for x in columns:
        if dtype_name(x) == "bool":
            sums.append(total(ops.cast(x, "float32")))
            continue
        s = _CHUNK * ops.max(ops.abs(x), initial=0.0)
        high = (x + s) - s
        sums.append(total(high) + total(x - high))
    return tuple(sums)


def _constant(x: np.ndarray) -> np.ndarray:
    x.setflags(write=False)
    return x
