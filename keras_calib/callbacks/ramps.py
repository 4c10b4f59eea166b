"""Schedules over the length of the run, whatever it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """A way from `start` to `end`, both reached exactly.

    Called with the share of the run that is done, in [0, 1].

    Attributes:
        start: value at the run's first epoch or step.
        end: value at its last.
        blend: function of (start, end, share).
    """

    start: float
    end: float
    blend: Callable[[float, float, float], float]

    def __call__(self, share: float) -> float:
        return self.blend(self.start, self.end, min(max(share, 0.0), 1.0))


def linear(start: float, end: float) -> Ramp:
    """Returns start + (end - start) s for the share s of the run.

    The share of epoch t of T is t / (T - 1): the last epoch has the end value.

    Example:

    >>> from keras_calib.callbacks import linear
    >>> linear(0.0, 0.5)(0.25)
    0.125
    """
    return Ramp(start, end, _lerp)


def cosine(start: float, end: float) -> Ramp:
    """Returns start + (end - start) (1 - cos(pi s)) / 2 for the share s of the run.

    Example:

    >>> from keras_calib.callbacks import cosine
    >>> round(cosine(0.0, 0.5)(0.25), 7)
    0.0732233
    """
    return Ramp(start, end, _cosine)


def exponential(start: float, end: float) -> Ramp:
    """Returns start (end / start)^s for the share s of the run.

    Raises:
        ValueError: where `start` or `end` is not above 0.

    Example:

    >>> from keras_calib.callbacks import exponential
    >>> round(exponential(1e-4, 1e-2)(0.5), 6)
    0.001
    """
    if start <= 0 or end <= 0:
        raise ValueError(
            "An exponential schedule runs between numbers above 0. Received: "
            f"start={start}, end={end}"
        )
    return Ramp(start, end, _exponential)


# The two products, rather than start + (end - start) s, give both ends exactly.
def _lerp(start, end, share):
    return (1.0 - share) * start + share * end


def _cosine(start, end, share):
    return _lerp(start, end, (1.0 - math.cos(math.pi * share)) / 2.0)


def _exponential(start, end, share):
    return start ** (1.0 - share) * end**share
