"""The bin of each probability."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.arguments import whole_number
from keras_calib.ops.floats import dtype_name, index_dtype, namespace
from keras_calib.ops.platform import by_platform
from keras_calib.types import Tensor

__all__ = ["bin_index"]

# Up to this many comparisons cost less than a search.
_FEW_EDGES = 128

# Fine bins: 18 octaves on each side of 1/2, each of 128 equal steps.
_OCTAVES, _STEPS = 18, 128
NUM_FINE_BINS = 2 * _OCTAVES * _STEPS
_HALF = np.append(0.0, 0.5 ** np.arange(_OCTAVES, 0, -1))
# The bits of the first octave's end, less the steps before it.
_FIRST_BITS = (int(np.float64(0.5**_OCTAVES).view("int64")) >> 45) - _STEPS
_OCTAVE_EDGES = np.concatenate([_HALF, 1 - _HALF[-2::-1]])


def equal_width_edges(num_bins: int) -> np.ndarray:
    """Returns the M + 1 edges, the float64 values nearest to i/M."""
    return np.arange(num_bins + 1) / num_bins


def fine_edges() -> np.ndarray:
    """Returns the edges of 4608 fine bins, which are narrow near 0 and 1.

    Up to 2^-18 from the ends, the width of a bin is at most 1/128 of its distance from
    the nearer of 0 and 1, so 1/512 in the middle. Closer, it is 2^-25, and each float32
    near 1 has its own bin.
    """
    steps = np.arange(_STEPS) / _STEPS
    low, width = _OCTAVE_EDGES[:-1], np.diff(_OCTAVE_EDGES)
    return np.append((low[:, None] + width[:, None] * steps).ravel(), 1.0)


def bin_index(x: Tensor, num_bins: int, dtype: str | None = None) -> Tensor:
    """Returns the equal-width bin of each x in [0, 1], as int32 (int64 on torch).

    Bin i is [i/M, (i+1)/M), and the last bin is closed. The edges are the floats
    nearest to i/M in the dtype in which the probabilities were computed, so that a
    float32 0.7 lies on the edge 7/10, as a float64 0.7 does. A value outside [0, 1]
    falls into the nearest bin, and NaN into an arbitrary one.

    Args:
        x: tensor or numpy array of any shape.
        num_bins: the number of bins, M.
        dtype: the dtype in which x was computed; its own by default.

    Raises:
        ValueError: for fewer than one bin.
    """
    xp = namespace(x)
    if whole_number("num_bins", num_bins) == 1:
        return xp.zeros_like(x, dtype=index_dtype(x))
    edges = equal_width_edges(num_bins)[1:-1].astype(dtype or dtype_name(x))
    if xp is np and num_bins <= _FEW_EDGES and edges.dtype.itemsize >= 4:
        return _corrected_guess(edges, x)
    return edges_below(edges, x)


def _corrected_guess(edges: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns the bins of numpy arrays, several times as fast as a search.

    The product M x is off by less than a bin, as the edges in float32 are.
    """
    last = len(edges)
    with np.errstate(invalid="ignore"):  # NaN falls into an arbitrary bin
        guess: np.ndarray = np.minimum(x * (last + 1), last).astype("int32")
    np.maximum(guess, 0, out=guess)
    bounds = np.concatenate([[np.nan], edges, [np.nan]]).astype(x.dtype)
    guess -= x < bounds.take(guess)
    guess += x >= bounds.take(guess + 1)
    return guess


def fine_index(x: Tensor) -> Tensor:
    """Returns the fine bin of each x in [0, 1], see `fine_edges`.

    The index is exact: comparisons find the octave, and all edges within it are
    dyadic. (XLA's search would compare each x with every one of the 4608 edges.)
    """
    if namespace(x) is np:
        return _fine_index_by_bits(x)
    dtype = dtype_name(x)
    octave = edges_below(_OCTAVE_EDGES[1:-1], x)
    low = ops.take(_OCTAVE_EDGES[:-1].astype(dtype), octave)
    steps = ops.take((_STEPS / np.diff(_OCTAVE_EDGES)).astype(dtype), octave)
    # Clipped as integers, so that NaN falls into a bin and makes its sums NaN.
    step = ops.clip(ops.cast((x - low) * steps, index_dtype(x)), 0, _STEPS - 1)
    return _STEPS * octave + step


def _fine_index_by_bits(x: np.ndarray) -> np.ndarray:
    """Returns the fine bins of numpy arrays.

    The octave of a float is its exponent, and its step the first seven bits of its
    fraction. From 1/2 on they are those of 1 - x, which is exact, and whose bins are
    closed at the other end.
    """
    x = x.astype("float64", copy=False)
    high = x >= 0.5
    u = np.where(high, 1.0 - x, x)
    first = 0.5**_OCTAVES  # below it all steps have the same width
    with np.errstate(invalid="ignore"):
        even = u * (_STEPS / first)
        even = np.where(high, np.ceil(even) - 1.0, even).astype("int64")
    bits = (u.view("int64") - high) >> 45
    index = np.where(u < first, even, bits - _FIRST_BITS)
    np.clip(index, 0, NUM_FINE_BINS // 2 - 1, out=index)
    return np.where(high, NUM_FINE_BINS - 1 - index, index).astype("int32")


def edges_below(edges: np.ndarray, x: Tensor) -> Tensor:
    """Returns the number of edges <= x for each x."""
    edges = edges.astype(dtype_name(x))
    if namespace(x) is np:
        return np.searchsorted(edges, x, side="right").astype("int32")
    few = tuple(edges.tolist()) if len(edges) <= _FEW_EDGES else ()
    if few and keras.backend.backend() == "jax":
        return _jitted_comparisons(few)(x)
    accelerator = partial(comparisons, few) if few else partial(reduced, edges)
    return by_platform(partial(searched, edges), accelerator, x)


def searched(edges: np.ndarray, x: Tensor) -> Tensor:
    """Counts by a search, which does not fuse."""
    if keras.backend.backend() == "tensorflow" and dtype_name(x) == "float32":
        import tensorflow as tf

        # One op, where searchsorted takes five.
        return tf.raw_ops.Bucketize(input=x, boundaries=edges.tolist())
    if keras.backend.backend() == "torch":
        import torch

        x = ops.convert_to_tensor(x)
        bounds = _torch_edges(tuple(edges.tolist()), x.dtype, x.device)
        return torch.bucketize(x.contiguous(), bounds, right=True)
    # On TensorFlow, one row of edges takes one row of values.
    index = ops.searchsorted(edges, ops.reshape(x, (-1,)), side="right")
    return ops.reshape(ops.cast(index, "int32"), ops.shape(x))


def comparisons(edges: tuple[float, ...], x: Tensor) -> Tensor:
    """Counts by one comparison per edge, which XLA fuses, and vectorizes on a CPU."""
    return sum(ops.cast(x >= edge, "int32") for edge in edges)


def reduced(edges: np.ndarray, x: Tensor) -> Tensor:
    """Counts by a reduction of comparisons, which keeps the program short."""
    below = ops.expand_dims(x, -1) >= ops.convert_to_tensor(edges)
    return ops.cast(ops.sum(ops.cast(below, "int32"), axis=-1), "int32")


@functools.cache
def _jitted_comparisons(edges: tuple[float, ...]) -> Callable[[Tensor], Tensor]:
    import jax

    # Outside a compiled step they would be many small calls.
    jitted: Callable[[Tensor], Tensor] = jax.jit(partial(comparisons, edges))
    return jitted


@functools.cache
def _torch_edges(edges: tuple[float, ...], dtype: Any, device: Any) -> Tensor:
    import torch

    # Cached, so that they are copied to the device once.
    return torch.tensor(edges, dtype=dtype, device=device)
