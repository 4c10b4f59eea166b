"""Temperature scaling."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, Unpack

import keras
import numpy as np
from keras import ops

from keras_calib.arguments import in_range, one_of
from keras_calib.calibrators.base import Calibrator, CalibratorArguments, _value
from keras_calib.calibrators.samples import Samples, softmax

Objective = Literal["nll", "brier", "ece"]

# Numbers in the part of the samples on which the search begins.
_PART = 2**21


@keras.saving.register_keras_serializable(package="keras_calib")
class TemperatureScaling(Calibrator):
    """Divides the logits by one temperature T, which leaves the argmax as it is.

    Formula:

    ```
    p = softmax(z / T),    T = argmin mean(-log p_y)
    ```

    The likelihood is convex in 1 / T. Its derivative in log T is a difference of
    two means of logits, of the label and of the prediction,

    ```
    dNLL / dlog T = mean(z_y - sum_k p_k z_k) / T
    ```

    and its one root is found in a bracket, so that the scale of the logits does not
    matter. Exponentials are taken in the precision of the logits given and summed
    in float64: float64 logits give T to 12 digits, float32 ones to 7.

    Where all labels are those of the largest logits, T runs to 0, and where the
    logits are no better than chance, to infinity: a bound is taken and a warning
    given. So is it where the best T lies beyond the bounds.

    Args:
        objective: what T minimises: `"nll"`, `"brier"` (the squared error of all
            probabilities), or `"ece"` (top-label, 15 equal bins; neither smooth nor
            proper, and given for comparison).
        bounds: the least and the largest T.

    Returns:
        Probabilities of the same shape.

    Raises:
        ValueError: for bounds that are not 0 < low < high, and for an unknown
            objective.

    Example:

    >>> import keras_calib
    >>> calibrator = keras_calib.calibrators.TemperatureScaling(dtype="float64")
    >>> logits = [[2.0, 0, 0], [3.0, 1, 0], [0, 2.5, 0], [4.0, 0, 1]]
    >>> _ = calibrator.fit(logits, [0, 1, 1, 0])
    >>> round(calibrator.temperature, 8)
    1.24400023

    Reference:

    - Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    """

    keeps_argmax = True

    def __init__(
        self,
        objective: Objective = "nll",
        bounds: tuple[float, float] = (0.01, 100.0),
        **kwargs: Unpack[CalibratorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.objective = one_of("objective", objective, Objective)
        low, high = bounds
        low = in_range("bounds[0]", low, 1e-6, 1e6)
        self.bounds = (low, in_range("bounds[1]", high, np.nextafter(low, 1e9), 1e6))

    @property
    def temperature(self) -> float:
        """The fitted T, above 1 where the model was overconfident."""
        value = _value(self._parameters["temperature"]) if self.fitted else None
        if value is None:
            raise ValueError(
                f"{self.name!r} has no temperature before fit(logits, labels), nor in "
                "a compiled step"
            )
        return float(value)

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns one scalar."""
        return {"temperature": ()}

    def adjust(self, samples: Samples) -> dict[str, Any]:
        """Finds the temperature."""
        low, high = np.log(self.bounds)
        if self.objective == "nll":
            log_t = log_temperature(samples, low, high)
        else:
            score = samples.brier if self.objective == "brier" else samples.ece
            log_t = _least(lambda u: score(lambda z: softmax(z / np.exp(u))), low, high)
        if log_t in (low, high):
            end, why = (
                ("low", "the largest logit (nearly) always names the label")
                if log_t == low
                else ("high", "the logits know no more of the labels than chance")
            )
            warnings.warn(
                f"TemperatureScaling ran to its {end} bound, "
                f"T={self.bounds[end == 'high']:g}: {why}, or the bounds are too "
                "narrow. Fit on samples that the model was not trained on",
                stacklevel=3,
            )
        return {"temperature": np.exp(log_t)}

    def transform(self, z: Any, temperature: Any) -> Any:
        """Returns softmax(z / T)."""
        return ops.softmax(z / temperature, axis=-1)


def log_temperature(samples: Samples, low: float, high: float) -> float:
    """Returns log T of the largest likelihood, or the bound that it runs to."""
    # Some of the samples tell where to look for the root of all.
    part = samples[:: max(1, samples.logits.size // _PART)]
    middle = _search(part, low, high, low, high)
    left, right = max(low, middle - 0.05), min(high, middle + 0.05)
    # Closer than this the slope of float32 logits is rounding.
    digits = 1e-13 if samples.logits.dtype == np.float64 else 1e-7
    return _search(samples, left, right, low, high, digits)


def _search(
    samples: Samples,
    left: float,
    right: float,
    low: float,
    high: float,
    tolerance: float = 0.0,
) -> float:
    slope = lru_cache(None)(lambda u: _slope(samples, np.exp(-u)))
    while slope(left) >= 0 and left > low:
        left, right = max(low, left - 4 * (right - left)), left
    while slope(right) <= 0 and right < high:
        left, right = right, min(high, right + 4 * (right - left))
    if slope(left) >= 0:
        return low
    if slope(right) <= 0:
        return high
    steepness = (slope(right) - slope(left)) / (right - left)
    return find_root(
        slope, left, right, tolerance or 1e-2, value_tolerance=tolerance * steepness
    )


def find_root(
    function: Callable[[float], float],
    low: float,
    high: float,
    tolerance: float,
    value_tolerance: float = 0.0,
) -> float:
    """Returns the root between two points of opposite sign.

    What is no further from 0 than `value_tolerance` counts as 0.
    """
    from scipy.optimize import brentq

    def near_zero(u: float) -> float:
        value = function(u)
        return value if abs(value) > value_tolerance else 0.0

    return float(brentq(near_zero, low, high, xtol=tolerance))


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Returns the least point: the best of a grid, then of the gaps beside it."""
    from scipy.optimize import minimize_scalar

    grid = np.linspace(low, high, 47)
    values = [function(u) for u in grid]
    best = int(np.argmin(values))
    gap = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(
        function, bounds=gap, method="bounded", options={"xatol": 1e-9}
    )
    return float(found.x) if found.fun < values[best] else float(grid[best])


def _slope(samples: Samples, beta: float) -> float:
    """Returns dNLL / dlog T at T = 1 / beta."""

    def block(rows):
        z = samples.logits[rows]
        z = z - z.max(-1, keepdims=True)
        e = z * z.dtype.type(beta)
        np.exp(e, out=e)
        mean = np.divide(np.einsum("nk,nk->n", e, z), e.sum(-1), dtype="float64")
        return samples.weight[rows] @ (samples.expected(z, rows) - mean)

    return float(beta * sum(samples.map(block)))
