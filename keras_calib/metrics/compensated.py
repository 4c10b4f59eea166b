"""Sums that stay exact however many terms they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_calib.ops.floats import dtype_name, nan_unless, widest
from keras_calib.types import Tensor

if TYPE_CHECKING:
    from keras_calib.metrics.base import CalibrationMetric


class CompensatedSum:
    """A running sum in a metric's variables, with twice the digits of their dtype.

    A float32 counter stops at 2^24 unit increments. Here a second variable holds what
    each addition rounds away (TwoSum; Knuth, The Art of Computer Programming 2,
    section 4.2.2, theorem B). Both variables add up over replicas.

    Args:
        metric: the metric that owns the variables.
        shape: shape of the sum. A size of 0 stands for one that the first term
            determines.
    """

    def __init__(self, metric: CalibrationMetric, shape: tuple[int, ...]) -> None:
        self._metric, self.built = metric, False
        self.high: Any = np.zeros(shape, metric.state_dtype)
        self.low: Any = self.high
        if 0 not in shape:
            self.build(shape)

    def build(self, shape: tuple[int, ...]) -> None:
        """Makes the variables."""
        add, dtype = self._metric.add_variable, self._metric.state_dtype
        self.high = add(shape, "zeros", dtype=dtype, name="sum")
        self.low = add(shape, "zeros", dtype=dtype, name="rounding")
        self.built = True

    def add(self, x: Tensor, sound: Tensor) -> None:
        """Adds a tensor of the sum's shape, or NaN where its batch is not sound."""
        if not self.built:
            self.build(tuple(x.shape))
        if tuple(x.shape) != tuple(self.high.shape):
            raise ValueError(
                f"{self._metric.name} must get the same number of classes in every "
                f"batch. Received: sums of shape {tuple(x.shape)} after sums of shape "
                f"{tuple(self.high.shape)}"
            )
        x = nan_unless(sound, x)
        high, low = map(ops.convert_to_tensor, (self.high, self.low))
        high, low = _plus(high, low, x)
        self.high.assign(high)
        self.low.assign(low)

    def tensor(self) -> Tensor:
        """Returns the sum as a tensor."""
        return ops.add(self.high, self.low)

    def double(self) -> Tensor:
        """Returns the sum as a float64 tensor (float32 on JAX without x64)."""
        return ops.cast(self.high, widest()) + ops.cast(self.low, widest())

    def numpy(self) -> np.ndarray:
        """Returns the sum in float64."""
        high, low = map(ops.convert_to_numpy, (self.high, self.low))
        return np.asarray(np.add(high, low, dtype="float64"))


def _plus(high: Tensor, low: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    if dtype_name(x) != dtype_name(high) and keras.backend.backend() == "torch":
        # Each operation is a launch, and float64 needs the fewest.
        total = (x + high) + low
        new = ops.cast(total, high.dtype)
        return new, total - new
    x = ops.cast(x, high.dtype)
    new = high + x
    x_part = new - high
    rounded = (high - (new - x_part)) + (x - x_part)
    return new, low + rounded
