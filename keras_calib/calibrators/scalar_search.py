"""Minima of functions of one number."""

from collections.abc import Callable

import numpy as np


def find_minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Returns the lowest point of a grid, refined within the gaps on its two sides."""
    from scipy.optimize import minimize_scalar

    grid = np.linspace(low, high, 59)
    values = [function(u) for u in grid]
    best = int(np.argmin(values))
    gap = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(
        function, bounds=gap, method="bounded", options={"xatol": 1e-9}
    )
    return float(found.x) if found.fun < values[best] else float(grid[best])
