"""Operations on rows: read or replace one entry, find the largest and its index."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.ops.floats import cast, namespace
from keras_calib.ops.platform import by_platform, compiled_by_xla
from keras_calib.types import Tensor


def with_entry(x: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """Returns x with value_n in the place of x[n, index_n], for each row n."""
    return by_platform(_scattered, _compared, x, ops.cast(index, "int32"), value)


def set_entry(x: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """Does the same, on torch in place where no graph is kept."""
    if keras.backend.backend() == "torch":
        import torch

        if not torch.is_grad_enabled():
            return x.scatter_(1, index.long()[:, None], value[:, None])
    return with_entry(x, index, value)


def _scattered(x: Tensor, index: Tensor, value: Tensor) -> Tensor:
    rows = ops.arange(ops.shape(index)[0], dtype="int32")
    return ops.scatter_update(x, ops.stack([rows, index], axis=-1), value)


def _compared(x: Tensor, index: Tensor, value: Tensor) -> Tensor:
    here = index[:, None] == ops.arange(ops.shape(x)[-1], dtype="int32")
    return ops.where(here, value[:, None], x)


def row_max(x: Tensor) -> Tensor:
    """Returns the largest entry of each row, of shape (N, 1)."""
    return _over_rows("max", x)


def row_min(x: Tensor) -> Tensor:
    """Returns the smallest entry of each row, of shape (N, 1)."""
    return _over_rows("min", x)


def row_squares(x: Tensor) -> Tensor:
    """Returns the sum of squares of each row, of shape (N,)."""
    if keras.backend.backend() == "tensorflow" and not compiled_by_xla():
        import tensorflow as tf

        # Without a compiler, the only form that writes no tensor of the size of x.
        return tf.square(tf.math.reduce_euclidean_norm(x, -1))
    if keras.backend.backend() == "torch":
        return ops.einsum("nk,nk->n", x, x)
    return ops.sum(x * x, axis=-1)  # which XLA fuses


def _over_rows(name: str, x: Tensor) -> Tensor:
    # Eagerly, `ops.max` and `ops.min` refuse an empty batch.
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return getattr(tf, f"reduce_{name}")(x, axis=-1, keepdims=True)
    return getattr(ops, f"a{name}")(x, axis=-1, keepdims=True)


def top_k(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Returns the k largest of each row and their indices; the first ones if tied."""
    if keras.backend.backend() != "torch":
        values, index = ops.top_k(x, k)
        return values, index
    x = ops.convert_to_tensor(x)
    values, index = x.sort(dim=-1, descending=True, stable=True)
    return values[:, :k], index[:, :k]


def top(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the largest of each row and its index; the first one if tied."""
    backend = keras.backend.backend()
    if backend == "torch":
        value, index = ops.convert_to_tensor(x).max(-1)
        return value, index
    if backend == "jax":
        return tuple(by_platform(first_of_largest, reduced_top, x))
    if compiled_by_xla():
        return first_of_largest(x)
    return tuple(by_platform(sorted_top, first_of_largest, x))


# The forms of `top`, all with the same results. Where a row holds NaN, the value of
# every form is NaN, and the index is arbitrary.


def sorted_top(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sorts: without a compiler, twice as fast as a maximum and its index."""
    value, index = ops.top_k(x, 1)
    return ops.squeeze(value, -1), ops.cast(ops.squeeze(index, -1), "int32")


def first_of_largest(x: Tensor) -> tuple[Tensor, Tensor]:
    """Two reductions, which XLA vectorizes on a CPU, unlike top_k and argmax."""
    x = ops.convert_to_tensor(x)
    k, largest = ops.shape(x)[-1], row_max(x)
    # The largest of indices that count down from K, as floats: the reduction of
    # integers is several times as slow.
    from_end = ops.cast(k, "float32") - ops.arange(k, dtype="float32")
    index = k - ops.cast(row_max(ops.where(x == largest, from_end, 1.0)), "int32")
    return ops.squeeze(largest, -1), ops.squeeze(index, -1)


def reduced_top(x: Tensor) -> tuple[Tensor, Tensor]:
    """One reduction of pairs on JAX, so that a GPU reads the rows once."""
    value, index = _jax_reduction()(x)
    return value, index


@functools.cache
def _jax_reduction() -> Any:
    import jax

    def larger(a: Any, b: Any) -> tuple[Tensor, Tensor]:
        (x, i), (y, j) = a, b
        first = (x > y) | ((x == y) & (i < j)) | (x != x)
        return ops.where(first, x, y), ops.where(first, i, j)

    @jax.custom_jvp  # type: ignore[untyped-decorator, unused-ignore]
    def top(x: Tensor) -> Any:
        index = jax.lax.broadcasted_iota("int32", x.shape, 1)
        lowest = jax.numpy.array(-float("inf"), x.dtype), jax.numpy.array(0, "int32")
        return jax.lax.reduce((x, index), lowest, larger, (1,))

    @top.defjvp  # type: ignore[untyped-decorator, unused-ignore]
    def derivative(primals: Any, tangents: Any) -> Any:
        value, index = top(*primals)
        no_tangent = np.zeros(index.shape, jax.dtypes.float0)
        return (value, index), (pick(tangents[0], index), no_tangent)

    return top


def one_hot(index: Tensor, k: int, dtype: str) -> Tensor:
    """Returns rows of zeros with a 1 at each index, if it is in [0, K)."""
    xp = namespace(index)
    if xp is ops and keras.backend.backend() != "torch":  # torch's raises for K
        return ops.one_hot(index, k, dtype=dtype)
    return cast(index[:, None] == xp.arange(k, dtype="int32"), dtype)


def pick(x: Tensor, index: Tensor) -> Tensor:
    """Returns x[n, index_n] for each row n."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # One op, where take_along_axis takes seven.
        return tf.gather(x, index, batch_dims=1)
    if keras.backend.backend() == "jax" and x.shape[-1] < 1024:
        # For one entry, a TPU reads a tile of 1024 numbers.
        return by_platform(_gathered, _gathered, x, index, tpu=_summed)
    if keras.backend.backend() == "torch":
        # One op, where take_along_axis takes four.
        x, index = map(ops.convert_to_tensor, (x, index))
        return x.gather(1, index.long()[:, None])[:, 0]
    return _gathered(x, index)


def _gathered(x: Tensor, index: Tensor) -> Tensor:
    return ops.squeeze(ops.take_along_axis(x, ops.expand_dims(index, -1), -1), -1)


def _summed(x: Tensor, index: Tensor) -> Tensor:
    here = index[:, None] == ops.arange(x.shape[-1], dtype="int32")
    return ops.sum(ops.where(here, x, 0), axis=-1)
