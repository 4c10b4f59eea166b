"""Schedules over the length of the run, however long it is."""

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Ramp", "cosine", "exponential", "linear"]


@dataclass(frozen=True)
class Ramp:
    """A function of the fraction of the run that is done, from `start` to `end`.

    Attributes:
        start: the value at the first epoch or step.
        end: the value at the last.
        blend: the function of `(start, end, fraction)`.
    """

    start: float
    end: float
    blend: Callable[[float, float, float], float]

    def __call__(self, fraction: float) -> float:
        return self.blend(self.start, self.end, min(max(fraction, 0.0), 1.0))


def linear(start: float, end: float) -> Ramp:
    """Returns the schedule start + (end - start) s, for the fraction s of the run.

    Epoch t of T is the fraction t / (T - 1): the last epoch has the end value.

    Example:

    >>> from keras_calib.callbacks import linear
    >>> linear(0.0, 0.5)(0.25)
    0.125
    """
    return Ramp(start, end, _linear)


def cosine(start: float, end: float) -> Ramp:
    """Returns the schedule start + (end - start) (1 - cos(pi s)) / 2.

    s is the fraction of the run.

    Example:

    >>> from keras_calib.callbacks import cosine
    >>> round(cosine(0.0, 0.5)(0.25), 7)
    0.0732233
    """
    return Ramp(start, end, _cosine)


def exponential(start: float, end: float) -> Ramp:
    """Returns the schedule start (end / start)^s, for the fraction s of the run.

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
    return Ramp(start, end, _exponential)


# Two products, unlike start + (end - start) s, give both ends exactly.
def _linear(start: float, end: float, s: float) -> float:
    return (1.0 - s) * start + s * end


def _cosine(start: float, end: float, s: float) -> float:
    return _linear(start, end, (1.0 - math.cos(math.pi * s)) / 2.0)


def _exponential(start: float, end: float, s: float) -> float:
    return math.pow(start, 1.0 - s) * math.pow(end, s)
