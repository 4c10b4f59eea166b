"""The accuracy as a smooth function of the confidence, with a band."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from keras_calib.metrics import BinStatistics


class SmoothCurve(NamedTuple):
    """Points of the curve.

    Args:
        confidence: evenly spaced over the range of those that occur.
        accuracy: the accuracy near each.
        low: the lower end of its interval.
        high: the upper end.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def smooth_curve(
    fine: BinStatistics, bandwidth: float, level: float, points: int = 201
) -> SmoothCurve:
    """Returns the accuracy near each confidence, by a Gaussian kernel.

    As in the smooth ECE, the kernel is reflected at 0 and 1. The mean a of hits h_i
    with weights k_i has the variance sum_i k_i^2 (h_i - a)^2 / (sum_i k_i)^2.

    Args:
        fine: statistics over fine bins.
        bandwidth: the standard deviation of the kernel.
        level: the level of the band.
        points: the number of points.
    """
    used = fine.weight > 0
    c, hits = fine.mean_confidence[used], fine.hits[used]
    misses = fine.weight[used] - hits
    x = np.linspace(c.min(), c.max(), points)[:, None]
    kernel = np.zeros((points, len(c)))
    for image in (c, -c, 2.0 - c):
        kernel += np.exp(-0.5 * np.square((x - image) / bandwidth))
    total = kernel @ (hits + misses)
    a = (kernel @ hits) / total
    squares = np.square(kernel)
    variance = (squares @ hits) * (1 - a) ** 2 + (squares @ misses) * a**2
    half = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance) / total
    return SmoothCurve(x[:, 0], a, np.maximum(a - half, 0.0), np.minimum(a + half, 1.0))
