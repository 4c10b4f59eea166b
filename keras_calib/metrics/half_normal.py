"""The distribution of a sum of half-normal variables."""

from __future__ import annotations

import numpy as np


def half_normal_sum_quantile(scale: np.ndarray, probability: float) -> float:
    """Returns the quantile of sum_m scale_m |Z_m|, Z_m independent normals."""
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
