"""Roots and minima of functions of one number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def find_root(
    function: Callable[[float], float],
    low: float,
    high: float,
    tolerance: float,
    value_tolerance: float = 0.0,
) -> float:
    """Returns the root between two points of opposite sign.

    A value within `value_tolerance` of 0 counts as 0.
    """
    from scipy.optimize import brentq

    def near_zero(u: float) -> float:
        value = function(u)
        return value if abs(value) > value_tolerance else 0.0

    return float(brentq(near_zero, low, high, xtol=tolerance))


def find_minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Returns the lowest point of a grid, refined within the gaps on its two sides."""
    from scipy.optimize import minimize_scalar

    grid = np.linspace(low, high, 47)
    values = [function(u) for u in grid]
    best = int(np.argmin(values))
    gap = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(
        function, bounds=gap, method="bounded", options={"xatol": 1e-9}
    )
    return float(found.x) if found.fun < values[best] else float(grid[best])
