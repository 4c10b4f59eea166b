"""Floating-point formats, and operations that keep them, on tensors and on numpy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import keras
import numpy as np
from keras import ops

from keras_calib.types import Tensor

_BACKEND = keras.backend.backend()
_TORCH = _BACKEND == "torch"

P = ParamSpec("P")
R = TypeVar("R")


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Lets a function compute in float64 on JAX too, whose default is float32."""
    if _BACKEND != "jax":
        return function
    import jax

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapper


def widest() -> str:
    """Returns float64, or float32 where JAX has no float64."""
    if _BACKEND != "jax":
        return "float64"
    import jax

    return str(jax.dtypes.canonicalize_dtype("float64"))


def at_least_float32(x: Tensor) -> Tensor:
    """Returns `x` as float64 where it is float64, and as float32 otherwise."""
    x = ops.convert_to_tensor(x)
    return x if dtype_name(x) == "float64" else ops.cast(x, "float32")


def as_floats(x: Tensor) -> Tensor:
    """Returns `x` in its own dtype if that is one of floats, else as float32."""
    x = ops.convert_to_tensor(x)
    return x if keras.backend.is_float_dtype(dtype_name(x)) else ops.cast(x, "float32")


def dtype_name(x: Tensor) -> str:
    """Returns the dtype of a tensor of any backend as a string."""
    return str(getattr(x.dtype, "name", x.dtype)).removeprefix("torch.")


def index_dtype(x: Tensor) -> str:
    """Returns the dtype of indices used with `x`: torch casts all but int64."""
    return "int64" if _TORCH and namespace(x) is ops else "int32"


def is_half(x: Tensor) -> bool:
    """Says whether a tensor has half precision, float16 or bfloat16."""
    return dtype_name(x).endswith("float16")


def tiny(x: Tensor) -> float:
    """Returns the smallest normal number of the dtype of `x`."""
    return float(np.finfo(dtype_name(x)).tiny)


def namespace(x: Tensor) -> Any:
    """Returns `numpy` for a numpy array, else `keras.ops`, which has the same names."""
    return np if isinstance(x, np.ndarray | np.generic) else ops


def as_tensor(x: Tensor) -> Tensor:
    """Returns `x` as a tensor.

    Without 64-bit types, JAX would wrap integers beyond int32, possibly into classes.
    They become the nearest int32 instead, which is not a class.
    """
    if _BACKEND == "jax" and isinstance(x, np.ndarray) and x.dtype.kind in "iu":
        import jax

        if x.dtype.itemsize == 8 and jax.dtypes.canonicalize_dtype("int64") != "int64":
            low = 0 if x.dtype.kind == "u" else np.iinfo("int32").min
            x = x.clip(low, np.iinfo("int32").max)
    return ops.convert_to_tensor(x)


def alike(x: Tensor, reference: Tensor) -> Tensor:
    """Returns `x` as a numpy array or as a tensor, whichever `reference` is."""
    if namespace(reference) is ops:
        return as_tensor(x)
    return np.asarray(ops.convert_to_numpy(x) if ops.is_tensor(x) else x)


def cast(x: Tensor, dtype: str) -> Tensor:
    """Returns a tensor or a numpy array in a dtype, without a copy if it has it."""
    return x.astype(dtype, copy=False) if namespace(x) is np else ops.cast(x, dtype)


# Some functions of keras.ops return float32 for float64, because
# `keras.backend.result_type` does: on torch all of these, on JAX floor. The functions
# below keep the dtype.


def in_numpy(x: Tensor) -> np.ndarray:
    """Returns a tensor or an array as a numpy array in float64."""
    return np.asarray(ops.convert_to_numpy(x), "float64")


def at_least(x: Tensor, low: Tensor) -> Tensor:
    """Returns max(x, low) in the dtype of `x`."""
    if namespace(x) is np:
        return np.maximum(x, low)
    if _TORCH:
        return x.clamp(min=low)
    return ops.maximum(x, ops.convert_to_tensor(low, dtype_name(x)))


def at_most(x: Tensor, high: Tensor) -> Tensor:
    """Returns min(x, high) in the dtype of `x`."""
    if namespace(x) is np:
        return np.minimum(x, high)
    if _TORCH:
        return x.clamp(max=high)
    return ops.minimum(x, ops.convert_to_tensor(high, dtype_name(x)))


def last_mean(x: Tensor) -> Tensor:
    """Returns the mean over the last axis in the dtype of `x`."""
    return ops.sum(x, axis=-1) / ops.cast(ops.shape(x)[-1], dtype_name(x))


def round_down(x: Tensor) -> Tensor:
    """Returns the largest whole number <= x in the dtype of `x`."""
    return namespace(x).floor(x) if _BACKEND == "tensorflow" else x // 1.0


def cumsum(x: Tensor) -> Tensor:
    """Returns the cumulative sums along the first axis in the dtype of `x`.

    Blocks of sqrt(N) rows are added up, then their sums: at N = 4608 in float64 a
    TPU's compiler takes minutes for `ops.cumsum`.
    """
    if namespace(x) is np:
        return np.cumsum(x, axis=0)
    if _TORCH:
        return x.cumsum(0)
    rows, *axes = x.shape
    width = math.isqrt(rows - 1) + 1
    x = ops.pad(x, [(0, width * width - rows)] + [(0, 0)] * len(axes))
    x = ops.cumsum(ops.reshape(x, (width, width, *axes)), axis=1)
    before = ops.cumsum(x[:-1, -1], axis=0)
    before = ops.pad(before, [(1, 0)] + [(0, 0)] * len(axes))
    return ops.reshape(x + before[:, None], (width * width, *axes))[:rows]


def divide_no_nan(x: Tensor, y: Tensor) -> Tensor:
    """Returns x / y, 0 where y is 0, in the dtype of `x` and `y`."""
    xp = namespace(x)
    if xp is ops and not _TORCH:
        return ops.divide_no_nan(x, y)
    zero = y == 0.0
    return xp.where(zero, 0.0, x / xp.where(zero, 1.0, y))


def nan_unless(condition: Tensor, x: Tensor) -> Tensor:
    """Returns `x` where a condition holds, else NaN, in the dtype of `x`."""
    if _TORCH:
        # Unlike a tensor, a number needs no copy to the device and no wait for it.
        condition = ops.convert_to_tensor(condition)
        return ops.convert_to_tensor(x).where(condition, math.nan)
    return ops.where(condition, x, ops.convert_to_tensor(math.nan, dtype_name(x)))


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Returns the product of matrices in the dtype of `x` and `y`, with all its digits.

    TensorFlow rounds float32 factors on a GPU unless the process has called
    `tf.config.experimental.enable_tensor_float_32_execution(False)`.
    """
    if _TORCH:
        return x @ y
    if _BACKEND == "jax":
        import jax

        return jax.numpy.matmul(x, y, precision="highest")
    return ops.matmul(x, y)


def segment_sum(x: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """Returns the sums of the rows of each index in the dtype of `x`."""
    if not _TORCH:
        return ops.segment_sum(x, index, num_segments=num_segments)
    sums = ops.zeros((num_segments, *x.shape[1:]), dtype=dtype_name(x))
    return sums.index_add(0, ops.convert_to_tensor(index, "int64"), x)
