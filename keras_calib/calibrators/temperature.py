"""Temperature scaling."""

import warnings
from dataclasses import replace
from functools import lru_cache
from typing import Literal, Unpack

import numpy as np
from keras import ops

from keras_calib._keras import known_value
from keras_calib.activations import softmax
from keras_calib.arguments import in_range, numbers, one_of, saveable
from keras_calib.calibrators.base import Calibrator, CalibratorArguments
from keras_calib.calibrators.objectives import brier, ece, nll
from keras_calib.calibrators.samples import Samples
from keras_calib.calibrators.scalar_search import find_minimum
from keras_calib.types import Array, Tensor

__all__ = ["TemperatureScaling"]

Objective = Literal["nll", "brier", "ece"]

# The search begins on a part of the samples, of about this many logits.
_PART = 2**21


@saveable
class TemperatureScaling(Calibrator):
    """Divides the logits by one temperature T. The argmax does not change.

    Formula:

    ```
    p = softmax(z / T),    T = argmin mean(-log p_y)
    ```

    The negative log-likelihood (nll) is convex in 1 / T. Its derivative in log T is the
    difference of two mean logits, that of the label and that of the prediction,

    ```
    d nll / (d log T) = mean(z_y - sum_k p_k z_k) / T
    ```

    and a bracketing search finds its only root, so the scale of the logits does not
    matter. Exponentials are computed in the precision of the logits and summed in
    float64: float64 logits give T to 12 digits, float32 logits to 7.

    When every label is the class of the largest logit, the best T is 0. When the
    logits are no better than chance, it is infinite. In both cases, and whenever the
    best T lies outside the bounds, T is the nearest bound and a warning is issued.
    The default bounds are 0.001 and 100 times the median margin, by which the largest
    logit of a sample exceeds the second largest.

    Args:
        objective: what T minimizes: `"nll"`, `"brier"` (the squared error of all
            probabilities), or `"ece"` (top-label, 15 bins of equal width; it is
            neither smooth nor proper, and serves for comparison).
        bounds: the smallest and the largest T; by default proportional to the logits.

    Returns:
        Probabilities of the shape of the inputs.

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
        bounds: tuple[float, float] | None = None,
        **kwargs: Unpack[CalibratorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.objective = one_of("objective", objective, Objective)
        if bounds is not None:
            low, high = numbers("bounds", bounds, 1e-6, 1e6, 2)
            bounds = low, in_range("bounds[1]", high, np.nextafter(low, 1e9), 1e6)
        self.bounds = bounds

    @property
    def temperature(self) -> float:
        """The fitted T, above 1 where the model was overconfident."""
        if not self.fitted:
            raise ValueError(
                f"{self.name!r} has no temperature before fit(logits, labels)"
            )
        return float(known_value("temperature", self._named_weights["temperature"]))

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns one scalar."""
        return {"temperature": ()}

    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Finds the temperature."""
        bounds = self.bounds or usual_bounds(samples)
        low, high = np.log(bounds)
        if self.objective == "nll":
            log_t = log_temperature(samples, bounds)
        else:
            score = {"brier": brier, "ece": ece}[self.objective]
            log_t = find_minimum(
                lambda u: score(samples, lambda z: softmax(z / np.exp(u))), low, high
            )
        if log_t in (low, high):
            end, reason = (
                ("low", "the largest logit is almost always that of the label")
                if log_t == low
                else ("high", "the logits predict the labels no better than chance")
            )
            warnings.warn(
                f"TemperatureScaling reached its {end} bound, T={np.exp(log_t):g}: "
                f"{reason}, or the bounds are too narrow. Fit on samples that the "
                "model was not trained on",
                stacklevel=4,
            )
        return {"temperature": np.exp(log_t)}

    def transform(self, z: Tensor, temperature: Tensor) -> Tensor:
        """Returns softmax(z / T)."""
        return ops.softmax(z / temperature, axis=-1)


def usual_bounds(samples: Samples) -> tuple[float, float]:
    """Returns bounds of T that are proportional to the logits."""
    top = np.sort(_part(samples).logits, axis=-1)[:, -2:]
    margin = float(np.median(top[:, 1] - top[:, 0])) or 1.0
    return 1e-3 * margin, 1e2 * margin


def _part(samples: Samples) -> Samples:
    return samples[:: max(1, samples.logits.size // _PART)]


def log_temperature(
    samples: Samples, bounds: tuple[float, float] | None = None
) -> float:
    """Returns log T of the largest likelihood, or the nearest bound."""
    low, high = np.log(bounds or usual_bounds(samples))
    # A part of the samples shows where to search among all of them.
    part = _part(samples)
    if not any(np.ptp(x.logits, axis=-1).any() for x in (part, samples)):
        return float(np.clip(0.0, low, high))  # each T gives the same
    middle = _search(part, low, high, low, high)
    # Below this tolerance the slope of float32 logits is rounding error.
    tolerance = 1e-13 if samples.logits.dtype == np.float64 else 1e-7
    # Newton's method in 1 / T, in which the NLL is convex: two or three passes.
    beta = np.exp(-middle)
    for _ in range(6):
        slope, variance = _derivatives(samples, beta)
        step = slope / variance if variance > 0 else np.inf
        beta *= 1 + step
        if abs(step) > 0.05 or not low <= -np.log(beta) <= high:
            break
        if 10 * step**2 < tolerance:
            return float(-np.log(beta))
    left, right = max(low, middle - 0.05), min(high, middle + 0.05)
    return _search(samples, left, right, low, high, tolerance)


def refinement_loss(samples: Samples) -> float:
    """Returns the mean negative log-likelihood at the best temperature."""
    temperature = samples.logits.dtype.type(np.exp(log_temperature(samples)))
    return nll(replace(samples, logits=samples.logits / temperature))


def _search(
    samples: Samples,
    left: float,
    right: float,
    low: float,
    high: float,
    tolerance: float = 0.0,
) -> float:
    """Searches from [left, right] outward, within [low, high]."""
    from scipy.optimize import brentq

    slope = lru_cache(None)(lambda u: _derivatives(samples, np.exp(-u))[0])
    while slope(left) >= 0 and left > low:
        left, right = max(low, left - 4 * (right - left)), left
    while slope(right) <= 0 and right < high:
        left, right = right, min(high, right + 4 * (right - left))
    if slope(left) >= 0:
        return low
    if slope(right) <= 0:
        return high
    # A slope within `tolerance` of the root counts as 0.
    zero = tolerance * (slope(right) - slope(left)) / (right - left)

    def near_zero(u: float) -> float:
        return slope(u) if abs(slope(u)) > zero else 0.0

    return float(brentq(near_zero, left, right, xtol=tolerance or 1e-2))


def _derivatives(samples: Samples, beta: float) -> tuple[float, float]:
    """Returns dNLL / dlog T at T = 1 / beta, and the mean variance of logits / T."""

    def block(rows: slice) -> tuple[float, float]:
        z = samples.logits[rows]
        z = (z - z.max(-1, keepdims=True)) * z.dtype.type(beta)
        e = np.exp(z)
        total = e.sum(-1).astype("float64")
        e *= z
        mean = e.sum(-1) / total
        variance = np.einsum("nk,nk->n", e, z) / total - mean**2
        weight = samples.weight[rows]
        return weight @ (samples.expected(z, rows) - mean), weight @ variance

    slope, variance = np.sum(samples.map(block), axis=0)
    return float(slope), float(variance)
