"""The bin of each probability, and sums over each bin."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_calib.arguments import whole_number
from keras_calib.ops.floats import cast, dtype_name, namespace, segment_sum
from keras_calib.types import Tensor

__all__ = ["bin_index", "bin_sums"]

# The largest number of samples in one sum, see `bin_sums`.
_CHUNK = 2**14

# Fine bins: 18 octaves on each side of 1/2, each of 128 equal steps.
_OCTAVES, _STEPS = 18, 128
NUM_FINE_BINS = 2 * _OCTAVES * _STEPS
_HALF = np.append(0.0, 0.5 ** np.arange(_OCTAVES, 0, -1))
_OCTAVE_EDGES = np.concatenate([_HALF, 1 - _HALF[-2::-1]])


def equal_width_edges(num_bins: int) -> np.ndarray:
    """Returns the M + 1 float64 nearest to i/M."""
    return np.arange(num_bins + 1) / num_bins


def fine_edges() -> np.ndarray:
    """Returns the edges of 4608 fine bins, which are narrow near 0 and 1.

    The width of a bin is at most 1/128 of its distance from the nearer of 0 and 1:
    1/512 in the middle, and 2^-25 at both ends, where each float32 has its own bin.
    """
    steps = np.arange(_STEPS) / _STEPS
    low, width = _OCTAVE_EDGES[:-1], np.diff(_OCTAVE_EDGES)
    return np.append((low[:, None] + width[:, None] * steps).ravel(), 1.0)


def bin_index(x: Tensor, num_bins: int, dtype: str | None = None) -> Tensor:
    """Returns the equal-width bin of each x in [0, 1], as int32.

    Bin i is [i/M, (i+1)/M), and the last bin is closed. The edges are the floats
    nearest to i/M in the dtype in which the probabilities were computed, so that a
    float32 0.7 lies on the edge 7/10, as a float64 0.7 does. A value outside [0, 1]
    falls into the nearest bin, and NaN into an arbitrary one.

    Args:
        x: tensor or numpy array of any shape.
        num_bins: the number of bins, M.
        dtype: the dtype in which x was computed; its own by default.
    """
    xp = namespace(x)
    if whole_number("num_bins", num_bins) == 1:
        return xp.zeros_like(x, dtype="int32")
    edges = equal_width_edges(num_bins)[1:-1]
    edges = edges.astype(dtype or dtype_name(x)).astype(dtype_name(x))
    return cast(xp.searchsorted(edges, x, side="right"), "int32")


def fine_index(x: Tensor) -> Tensor:
    """Returns the fine bin of each x in [0, 1], as int32, see `fine_edges`.

    The index is exact: comparisons find the octave, and all edges within it are
    dyadic. (XLA's search would compare each x with every one of the 4608 edges.)
    """
    dtype = dtype_name(x)
    octave = ops.searchsorted(_OCTAVE_EDGES[1:-1].astype(dtype), x, side="right")
    low = ops.take(_OCTAVE_EDGES[:-1].astype(dtype), octave)
    steps = ops.take((_STEPS / np.diff(_OCTAVE_EDGES)).astype(dtype), octave)
    # Clipped as integers, so that NaN falls into a bin and makes its sums NaN.
    step = ops.clip(ops.cast((x - low) * steps, "int32"), 0, _STEPS - 1)
    return _STEPS * ops.cast(octave, "int32") + step


def bin_sums(
    columns: Sequence[Tensor],
    index: Tensor | None = None,
    num_bins: int = 1,
    bound: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Sums the rows of each bin, to the last digit.

    The plain float32 sum of 8192 numbers 0.9 is off by 7e-5. Therefore each x is
    split, at a scale s >= 2^14 max |x|, into

    ```
    x = high + low,    high = (x + s) - s
    ```

    Both parts are exact, and so is the sum of up to 2^14 high parts (Rump, Ogita,
    Oishi, "Accurate Floating-Point Summation", SIAM Journal on Scientific Computing
    31 (2008), section 3). Longer columns are summed in chunks; without bins s is at
    least N max |x|.

    Args:
        columns: tensors of shape (N, ...), or numpy arrays, which are summed in
            float64. Boolean columns are counted.
        index: int32 bins in [0, num_bins), of shape (N,); all 0 by default.
        num_bins: the number of bins, M.
        bound: an upper bound of the absolute values, where it is known.

    Returns:
        One tensor of shape (M, ...) for each column.
    """
    if index is not None and namespace(columns[0]) is np:
        return tuple(_array_sums(x, index, num_bins) for x in columns)
    n = columns[0].shape[0]
    n = ops.shape(columns[0])[0] if n is None else n
    if index is None:
        terms = ops.cast(n, "float32")

        def total(x: Tensor) -> Tensor:
            return ops.sum(x, axis=0, keepdims=True)

    else:
        terms, chunks = _CHUNK, (n + _CHUNK - 1) // _CHUNK
        one_chunk = isinstance(n, int) and n <= _CHUNK
        if not one_chunk:
            index = index + num_bins * (ops.arange(n, dtype="int32") // _CHUNK)

        def total(x: Tensor) -> Tensor:
            if one_chunk:
                return segment_sum(x, index, num_bins)
            sums = segment_sum(x, index, chunks * num_bins)
            return ops.sum(ops.reshape(sums, (-1, num_bins, *x.shape[1:])), axis=0)

    sums = []
    for x in columns:
        if dtype_name(x) == "bool":
            sums.append(total(ops.cast(x, "float32")))
            continue
        scale = ops.max(ops.abs(x), initial=0.0) if bound is None else bound
        scale = ops.cast(terms, x.dtype) * ops.cast(scale, x.dtype)
        high = (x + scale) - scale
        sums.append(total(high) + total(x - high))
    return tuple(sums)


def _array_sums(x: np.ndarray, index: np.ndarray, num_bins: int) -> np.ndarray:
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    # Without samples, `bincount` returns integers.
    sums = [np.bincount(index, c, num_bins).astype("float64") for c in flat.T]
    return np.stack(sums, axis=-1).reshape(num_bins, *x.shape[1:])
