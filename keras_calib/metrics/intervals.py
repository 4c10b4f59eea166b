"""Confidence and credible intervals of the figures of bins."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from keras_calib.arguments import in_range
from keras_calib.ops.calibration import BinSums, calibration_error
from keras_calib.ops.floats import divide_no_nan


def credible_intervals(sums: BinSums, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns both ends of the equal-tailed intervals of the accuracies.

    The posterior is Beta(hits + 1/2, misses + 1/2), from Jeffreys' prior.
    """
    from scipy.special import betaincinv  # seldom needed

    tail, misses = _tail(level), np.maximum(sums.weight - sums.hits, 0)
    a, b = sums.hits + 0.5, misses + 0.5
    return betaincinv(a, b, tail), betaincinv(a, b, 1 - tail)


def error_interval(sums: BinSums, level: float) -> tuple[float, float]:
    """Returns a confidence interval of the l1 error.

    Let D_m = sum(confidence - hit) / N in bin m, with mean mu_m and variance s_m^2.
    The error is |mu| = sum_m |mu_m|, and its estimate is |D|.

    - |D| >= sum_m sign(mu_m) D_m, a mean of N values whose squares have mean B, the
      Brier score. So |mu| <= |D| + z sqrt((B - |D|^2) / N).
    - |D| - |mu| <= sum_m |D_m - mu_m|, a sum of half-normal variables. So |mu| >=
      |D| - q, where q is the quantile of that sum.

    Both hold for all mu as N grows, so that the coverage is at least the level.
    A few samples of a bin may all be hits, and would then have no variance. Therefore
    the variances count z^2 / 2 more hits and as many misses in each bin, as Agresti and
    Coull, "Approximate Is Better than Exact for Interval Estimation of Binomial
    Proportions", The American Statistician 52 (1998), do for one proportion.
    Without `squared_error`, the samples of a bin count as if they had the same
    confidence.
    """
    tail, n = _tail(level), sums.weight.sum()
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(1 - tail)
    error, square = calibration_error(sums), sums.squared_error
    c = divide_no_nan(sums.confidence, sums.weight)
    if square is None:
        square = sums.weight * c**2 + (1 - 2 * c) * sums.hits
    more = sums.weight + z**2
    d = (sums.confidence - sums.hits + z**2 * (c - 0.5)) / more
    square = (square + z**2 * (c**2 - c + 0.5)) / more
    share = sums.weight / n
    scale = np.sqrt(np.maximum(share * square - (share * d) ** 2, 0.0) / n)
    variance = share @ square - (share @ np.abs(d)) ** 2
    lower = error - half_normal_sum_quantile(scale, 1 - tail)
    upper = error + z * np.sqrt(max(variance, 0.0) / n)
    return float(max(lower, 0.0)), float(min(upper, 1.0))


def half_normal_sum_quantile(scale: np.ndarray, probability: float) -> float:
    """Returns the quantile of sum_m scale_m |Z_m|, for independent normals Z_m."""
    scale = scale[scale > 0]
    if not len(scale):
        return 0.0
    # Densities on a grid, convolved as a product of their Fourier transforms.
    points = 4096
    top = scale.sum() * np.sqrt(2 / np.pi) + 10 * np.sqrt(np.sum(scale**2))
    x = (np.arange(points) + 0.5) * (top / points)
    density = np.exp(-0.5 * (x / scale[:, None]) ** 2)
    density /= density.sum(axis=1, keepdims=True)
    transform = np.prod(np.fft.rfft(density, 2 * points, axis=1), axis=0)
    cumulative = np.cumsum(np.fft.irfft(transform)[: 2 * points])
    # Each of the M terms is half a step beyond its grid point.
    steps = np.searchsorted(cumulative, probability) + len(scale) / 2
    return float(steps * (top / points))


def _tail(level: float) -> float:
    return (1 - in_range("level", level, 1e-9, 1 - 1e-9)) / 2
