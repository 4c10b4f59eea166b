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
