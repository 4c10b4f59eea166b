"""Sums that stay right however many terms they take."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


class CompensatedSum:
    """A running sum in a metric's variables, kept to twice the digits.

    A float32 counter stands still at 2^24 unit increments. Here what each addition
    rounds away goes into a second variable (TwoSum; Knuth, The Art of Computer
    Programming 2, section 4.2.2, theorem B). Both add up over replicas.

    Args:
        metric: the metric that owns the variables.
        shape: shape of the sum.
    """

    def __init__(self, metric: keras.metrics.Metric, shape: tuple[int, ...]) -> None:
        dtype = metric.state_dtype
        self.high = metric.add_variable(shape, "zeros", dtype=dtype, name="sum")
        self.low = metric.add_variable(shape, "zeros", dtype=dtype, name="rounding")

    def add(self, x: Any) -> None:
        """Adds a tensor of the sum's shape."""
        x = ops.cast(x, self.high.dtype)
        old = ops.convert_to_tensor(self.high)
        new = old + x
        x_part = new - old
        rounded = (old - (new - x_part)) + (x - x_part)
        self.high.assign(new)
        self.low.assign(ops.convert_to_tensor(self.low) + rounded)

    def tensor(self) -> Any:
        """Returns the sum as a tensor."""
        return ops.add(self.high, self.low)

    def double(self) -> Any:
        """Returns the sum as a float64 tensor (float32 on JAX without x64)."""
        return ops.cast(self.high, "float64") + ops.cast(self.low, "float64")

    def numpy(self) -> np.ndarray:
        """Returns the sum in float64."""
        high, low = map(ops.convert_to_numpy, (self.high, self.low))
        return np.add(high, low, dtype="float64")
