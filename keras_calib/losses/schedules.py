"""Schedules that a compiled training step evaluates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import keras
import numpy as np
from keras import ops

from keras_calib.arguments import saveable
from keras_calib.types import Tensor

# Standing for a step that no run reaches.
FOREVER = 2**31 - 1


class Schedule(Protocol):
    """What type checkers see of a Keras `LearningRateSchedule`."""

    def __call__(self, step: Any, /) -> Any:
        """Returns the value at a step."""

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""


@saveable
@dataclass(frozen=True)
class Ramp(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule from `start` to `end`, by the fraction that is done.

    Attributes:
        start: the value at the first epoch or step.
        end: the value at the last.
        blend: the function of `(start, end, fraction)`, the fraction being a number or
            a tensor.
        steps: the number of steps, which makes it a function of the step; by default
            it is a function of the fraction, and a callback knows the run's length.
    """

    start: float
    end: float
    blend: Callable[[float, float, Any], Any]
    steps: int | None = None

    def __call__(self, position: Any) -> Any:
        return self.at(position, 1 if self.steps is None else self.steps)

    def at(self, position: Any, last: Any) -> Any:
        """Returns the value at a position, where the end is at `last`."""
        if isinstance(position, int | float | np.number):
            done = max(float(position / last), 0.0) if position < last else 1.0
            return self.blend(self.start, self.end, done)
        position = ops.convert_to_tensor(position)
        fraction = ops.cast(position, "float32") / ops.cast(last, "float32")
        done = ops.where(position < last, ops.maximum(fraction, 0.0), 1.0)
        return self.blend(self.start, self.end, done)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        blend = keras.saving.serialize_keras_object(self.blend)
        own = {"start": self.start, "end": self.end, "steps": self.steps}
        return {**own, "blend": blend}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns the ramp that `get_config` described."""
        return cls(**keras.saving.deserialize_keras_object(config))


def spans_the_run(schedule: Any) -> bool:
    """Says whether a schedule depends on the length of the run."""
    return isinstance(schedule, Ramp) and schedule.steps is None


def value_at(schedule: Schedule, step: Tensor, last: Tensor) -> Tensor:
    """Returns the value of a schedule at a step of a run that ends with step `last`."""
    if isinstance(schedule, Ramp) and schedule.steps is None:
        return schedule.at(step, last)
    return schedule(step)


def are_equal(one: Schedule | None, other: Schedule | None) -> bool:
    """Says whether two schedules have the same values."""
    if one is None or other is None or type(one) is not type(other):
        return one is other
    try:
        return bool(one.get_config() == other.get_config())
    except NotImplementedError:  # a class without a configuration
        return one is other
