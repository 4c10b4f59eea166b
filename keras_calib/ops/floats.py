"""Facts about floating-point formats, and attributes Keras leaves on tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


def at_least_float32(x: Any) -> Any:
    """Returns `x` as float64 where it is float64, and as float32 otherwise."""
    x = ops.convert_to_tensor(x)
    return x if dtype_name(x) == "float64" else ops.cast(x, "float32")


def dtype_name(x: Any) -> str:
    """Returns the dtype of a tensor of any backend as a string."""
    return str(getattr(x.dtype, "name", x.dtype)).removeprefix("torch.")


def tiny(x: Any) -> float:
    """Returns the smallest normal number of the dtype of `x`."""
    return float(np.finfo(dtype_name(x)).tiny)


# keras.ops loses digits of float64 where it could keep them: on torch `maximum`
# beside a Python number, on torch and JAX `mean`, are computed in float32.


def at_least(x: Any, low: float) -> Any:
    """Returns max(x, low) in the dtype of `x`."""
    return ops.maximum(x, ops.convert_to_tensor(low, dtype_name(x)))


def at_most(x: Any, high: float) -> Any:
    """Returns min(x, high) in the dtype of `x`."""
    return ops.minimum(x, ops.convert_to_tensor(high, dtype_name(x)))


def last_mean(x: Any) -> Any:
    """Returns the mean over the last axis in the dtype of `x`."""
    return ops.sum(x, axis=-1) / ops.cast(ops.shape(x)[-1], dtype_name(x))
