"""Sums over all samples or over bins, accurate to the last digit."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.ops.floats import dtype_name, namespace, segment_sum
from keras_calib.ops.platform import by_platform
from keras_calib.types import Tensor

__all__ = ["bin_sums"]

_BACKEND = keras.backend.backend()

# The largest number of samples in one sum, see `bin_sums`.
_CHUNK = 2**14

# With more bins than this, a scatter is the faster form on an accelerator, too: the
# more bins there are, the fewer samples wait for the same one.
_FEW_BINS = 128

Columns = Sequence[Tensor | None]
Sums = list[Tensor]


def bin_sums(
    columns: Columns,
    index: Tensor | None = None,
    num_bins: int = 1,
    bound: Tensor | None = None,
) -> Sums:
    """Sums the rows of each bin, accurate to the last digit.

    The plain float32 sum of 8192 numbers 0.9 is off by 7e-5. Therefore sums are taken
    in float64 where it is fast. On JAX and on accelerators each x is split instead, at
    a scale s >= 2^14 max |x|, into

    ```
    x = high + low,    high = (x + s) - s
    ```

    Both parts are exact, and so is the sum of up to 2^14 high parts (Rump, Ogita,
    Oishi, "Accurate Floating-Point Summation", SIAM Journal on Scientific Computing
    31 (2008), section 3). Longer columns are summed in chunks; without bins s is at
    least N max |x|.

    Args:
        columns: tensors of shape (N, ...), or numpy arrays. Boolean columns are
            counted, and `None` counts the samples; at most two columns are counted.
        index: int32 bins in [0, num_bins), of shape (N,), all 0 by default; or of
            shape (N, G), that of the columns, where each of G groups has its own bins.
        num_bins: the number of bins, M.
        bound: an upper bound of the absolute values, where it is known.

    Returns:
        One tensor of shape (M, ...) for each column, or of shape (G, M) for groups.
    """
    if index is None:
        return _totals(columns)
    if namespace(index) is np:
        return _scattered(_array_sums, columns, index, num_bins)
    if _BACKEND == "torch":
        return _scattered(_torch_sums, columns, index, num_bins)
    if _BACKEND == "jax":
        return split_sums(columns, index, num_bins, bound)
    return list(
        by_platform(
            lambda _: _scattered(_tensorflow_sums, columns, index, num_bins),
            lambda _: split_sums(columns, index, num_bins, bound),
            index,
        )
    )


def _totals(columns: Columns) -> Sums:
    first = next(x for x in columns if x is not None)
    n = ops.shape(first)[0]

    def total(x: Tensor) -> Tensor:
        return ops.sum(x, axis=0, keepdims=True)

    def split_total(x: Tensor) -> Tensor:
        parts = _split(x, ops.cast(n, x.dtype) * ops.max(ops.abs(x), initial=0.0))
        return sum(map(total, parts))

    def float64_total(x: Tensor) -> Tensor:
        return total(ops.cast(x, "float64"))

    sums = []
    for x in columns:
        if x is None:
            sums.append(ops.reshape(ops.cast(n, "int32"), (1,)))
        elif dtype_name(x) == "bool":
            sums.append(total(ops.cast(x, "int32")))
        elif _BACKEND == "jax":
            sums.append(split_total(x))
        else:
            sums.append(by_platform(float64_total, split_total, x))
    return sums


def _split(x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    high = (x + scale) - scale
    return high, x - high


# In float64 -------------------------------------------------------------------------


def _scattered(
    sums: Callable[[Columns, Tensor, int], Sums],
    columns: Columns,
    index: Tensor,
    num_bins: int,
) -> Sums:
    """Sums over bins, or over those of each group."""
    if len(index.shape) == 1:
        return sums(columns, index, num_bins)
    xp, groups = namespace(index), index.shape[1]
    index = index + num_bins * xp.arange(groups, dtype="int32")
    flat = [None if x is None else xp.reshape(x, (-1,)) for x in columns]
    found = sums(flat, xp.reshape(index, (-1,)), groups * num_bins)
    return [xp.reshape(x, (groups, num_bins)) for x in found]


def _array_sums(columns: Columns, index: np.ndarray, num_bins: int) -> Sums:
    def over_bins(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), math.prod(x.shape[1:]))
        # Without samples, `bincount` returns integers.
        sums = [np.bincount(index, c, num_bins).astype("float64") for c in flat.T]
        return np.stack(sums, axis=-1).reshape(num_bins, *x.shape[1:])

    ones = np.ones(len(index))
    return [over_bins(ones if x is None else x) for x in columns]


def _tensorflow_sums(columns: Columns, index: Tensor, num_bins: int) -> Sums:
    import tensorflow as tf

    def over_bins(x: Tensor, index: Tensor, num_bins: int) -> Tensor:
        if len(x.shape) > 1:
            return segment_sum(tf.cast(x, "float64"), index, num_bins)

        # In a graph, a segment sum of few bins takes twenty times as long.
        def bincount(weights: Tensor) -> Any:
            sums = tf.raw_ops.Bincount(arr=index, size=num_bins, weights=weights)
            return sums, lambda upstream: tf.gather(upstream, index)

        return tf.custom_gradient(bincount)(tf.cast(x, "float64"))

    no_weights = tf.zeros([0])
    misses_and_hits = None
    sums = []
    for x in reversed(columns):
        if x is None and misses_and_hits is not None:
            sums.append(tf.reduce_sum(misses_and_hits, axis=0))
        elif x is None:
            sums.append(over_bins(no_weights, index, num_bins))
        elif dtype_name(x) == "bool":
            pairs = index + num_bins * tf.cast(x, "int32")
            counts = over_bins(no_weights, pairs, 2 * num_bins)
            misses_and_hits = tf.reshape(counts, (2, num_bins))
            sums.append(misses_and_hits[1])
        else:
            sums.append(over_bins(x, index, num_bins))
    return sums[::-1]


def _torch_sums(columns: Columns, index: Tensor, num_bins: int) -> Sums:
    import torch

    # One addition for all columns; with int32 indices it takes ten times as long.
    n, index = len(index), index.long()
    ones = torch.ones(n, dtype=torch.bool, device=index.device)
    full: Sums = [ones if x is None else x for x in columns]
    rows = [x.reshape(n, math.prod(x.shape[1:])).T for x in full]
    dtype = torch.float32 if index.device.type == "mps" else torch.float64
    terms = torch.cat(rows).to(dtype)
    lanes = _lanes(index, num_bins)
    if lanes > 1:
        index = index + num_bins * (torch.arange(n, device=index.device) % lanes)
    sums = terms.new_zeros((len(terms), lanes * num_bins)).index_add(1, index, terms)
    if lanes > 1:
        sums = sums.reshape(-1, lanes, num_bins).sum(1)
    parts = torch.split(sums, [len(row) for row in rows])
    return [
        part.T.reshape(num_bins, *x.shape[1:])
        for part, x in zip(parts, full, strict=True)
    ]


def _lanes(index: Tensor, num_bins: int) -> int:
    """Returns how many sums of each bin to keep apart.

    On a GPU, additions to one number wait for each other.
    """
    few = index.device.type == "cpu" or len(index) < _CHUNK
    return 1 if few else max(1, 2 * _CHUNK // num_bins)


# In two parts ------------------------------------------------------------------------


def split_sums(
    columns: Columns, index: Tensor, num_bins: int, bound: Tensor | None
) -> Sums:
    parts: list[Tensor] = []
    if counted := [x for x in columns if _is_counted(x)]:
        ones = ops.ones(ops.shape(index), dtype="int32")
        first, *second = [ones if x is None else ops.cast(x, "int32") for x in counted]
        # A chunk's counts have at most 15 bits, so that an integer holds two.
        parts.append(first + 2**15 * second[0] if second else first)
    for x in columns:
        if x is not None and dtype_name(x) != "bool":
            scale = ops.max(ops.abs(x), initial=0.0) if bound is None else bound
            parts += _split(x, _CHUNK * ops.cast(scale, x.dtype))
    fused = compared_sums if num_bins <= _FEW_BINS else segment_sums

    def one_by_one(index: Tensor, *columns: Tensor) -> Sums:
        # A TPU launches no kernels, and would write the stacked columns.
        return [fused(num_bins, index, x)[0] for x in columns]

    forms = (partial(form, num_bins) for form in (segment_sums, fused))
    found = iter(by_platform(*forms, index, *parts, tpu=one_by_one))
    packed = next(found) if counted else 0
    counts = iter((packed % 2**15, packed // 2**15))
    sums = [
        next(counts) if _is_counted(x) else next(found) + next(found) for x in columns
    ]
    return [ops.sum(x, axis=0) for x in sums]


def segment_sums(num_bins: int, index: Tensor, *columns: Tensor) -> Sums:
    """Sums the rows of each chunk and bin, by a scatter.

    Returns:
        One tensor of shape (chunks, M, ...) or (chunks, G, M) for each column.
    """
    n, groups = ops.shape(index)[0], tuple(index.shape[1:])
    size, bins = _chunk_size(n), math.prod(groups) * num_bins
    chunks = -(-n // size)
    if groups:
        index = index + num_bins * ops.arange(groups[0], dtype="int32")
    if not isinstance(n, int) or chunks > 1:
        chunk = ops.arange(n, dtype="int32") // size
        index = index + bins * ops.reshape(chunk, (-1, *(1 for _ in groups)))
    index = ops.reshape(index, (-1,))

    def over_bins(x: Tensor) -> Tensor:
        each = x.shape[1 + len(groups) :]
        x = ops.reshape(x, (-1, *each))
        sums = segment_sum(x, index, chunks * bins)
        return ops.reshape(sums, (chunks, *groups, num_bins, *each))

    return [over_bins(x) for x in columns]


def compared_sums(num_bins: int, index: Tensor, *columns: Tensor) -> Sums:
    """Returns the same by comparing each index with each bin, which fuses.

    Columns of the same dtype and shape become one sum, because on a GPU each sum is a
    launch.
    """
    n = ops.shape(index)[0]
    size = _chunk_size(n)
    chunks, grouped = -(-n // size), len(index.shape) > 1

    def in_chunks(x: Tensor, padding: int) -> Tensor:
        count, _, *axes = x.shape
        if not isinstance(n, int) or n % size:
            pad = [(0, 0), (0, chunks * size - n)] + [(0, 0) for _ in axes]
            x = ops.pad(x, pad, constant_values=padding)
        return ops.reshape(x, (count, chunks, 1, size, *axes))

    bins = ops.arange(num_bins, dtype="int32")
    is_in = in_chunks(index[None], -1) == ops.reshape(
        bins, (-1, 1, 1) if grouped else (-1, 1)
    )

    def over_bins(columns: list[Tensor]) -> Tensor:
        x = in_chunks(ops.stack(columns), 0)
        each = (1 for _ in x.shape[len(is_in.shape) :])
        mask = ops.reshape(is_in, (*ops.shape(is_in), *each))
        sums = ops.sum(ops.where(mask, x, 0), axis=3)
        sums = ops.cast(sums, x.dtype)  # on JAX, a sum of int32 may be of int64
        return ops.swapaxes(sums, 2, 3) if grouped else sums

    alike: dict[Any, list[int]] = {}
    for place, x in enumerate(columns):
        alike.setdefault((dtype_name(x), tuple(x.shape)), []).append(place)
    found: dict[int, Tensor] = {}
    for places in alike.values():
        sums = over_bins([columns[place] for place in places])
        found |= {place: sums[i] for i, place in enumerate(places)}
    return [found[place] for place in range(len(columns))]


@functools.cache
def _chunk_size(n: Any) -> int:
    """Returns the largest divisor of n up to 2^14, so that no chunk is padded.

    If all of them are small, they would make many chunks, and it returns 2^14.
    """
    if not isinstance(n, int):
        return _CHUNK
    largest = max(min(n, _CHUNK), 1)
    sizes = range(largest, largest // 16, -1)
    return next((size for size in sizes if n % size == 0), _CHUNK)


def _is_counted(x: Tensor | None) -> bool:
    return x is None or dtype_name(x) == "bool"
