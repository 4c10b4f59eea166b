"""Schedules over the length of the run, however long it is."""

import math
from typing import Any

from keras import ops

from keras_calib.arguments import saveable, unless_none, whole_number
from keras_calib.losses.schedules import Ramp

__all__ = ["Ramp", "cosine", "exponential", "linear"]


def linear(start: float, end: float, steps: int | None = None) -> Ramp:
    """Returns the schedule start + (end - start) s, for the fraction s of the run.

    Epoch t of T is the fraction t / (T - 1): the last epoch has the end value. With
    `steps` it is a function of the step, and s = step / steps.

    Example:

    >>> from keras_calib.callbacks import linear
    >>> linear(0.0, 0.5)(0.25)
    0.125
    """
    return _ramp(start, end, _linear, steps)


def cosine(start: float, end: float, steps: int | None = None) -> Ramp:
    """Returns the schedule start + (end - start) (1 - cos(pi s)) / 2.

    s is the fraction of the run, or of `steps` if they are given.

    Example:

    >>> from keras_calib.callbacks import cosine
    >>> round(cosine(0.0, 0.5)(0.25), 7)
    0.0732233
    """
    return _ramp(start, end, _cosine, steps)


def exponential(start: float, end: float, steps: int | None = None) -> Ramp:
    """Returns the schedule start (end / start)^s, for the fraction s of the run.

    With `steps` it is a function of the step, and s = step / steps.

    Raises:
        ValueError: if `start` or `end` is not positive.

    Example:

    >>> from keras_calib.callbacks import exponential
    >>> round(exponential(1e-4, 1e-2)(0.5), 6)
    0.001
    """
    if start <= 0 or end <= 0:
        raise ValueError(
            "`start` and `end` of an exponential schedule must be positive. "
            f"Received: start={start}, end={end}"
        )
    return _ramp(start, end, _exponential, steps)


def _ramp(start: float, end: float, blend: Any, steps: int | None) -> Ramp:
    return Ramp(start, end, blend, unless_none(whole_number, "steps", steps))


# Two products, unlike start + (end - start) s, give both ends exactly.
@saveable  # type: ignore[untyped-decorator, unused-ignore]
def _linear(start: float, end: float, s: Any) -> Any:
    return (1.0 - s) * start + s * end


@saveable  # type: ignore[untyped-decorator, unused-ignore]
def _cosine(start: float, end: float, s: Any) -> Any:
    cos = ops.cos if ops.is_tensor(s) else math.cos
    return _linear(start, end, (1.0 - cos(math.pi * s)) / 2.0)


@saveable  # type: ignore[untyped-decorator, unused-ignore]
def _exponential(start: float, end: float, s: Any) -> Any:
    power = ops.power if ops.is_tensor(s) else math.pow
    return power(start, 1.0 - s) * power(end, s)
