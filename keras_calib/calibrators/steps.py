"""Maps that look up calibrated probabilities in a table."""

from typing import Any

import numpy as np
from keras import ops

from keras_calib.calibrators.one_vs_rest import OneVsRest
from keras_calib.ops.floats import namespace
from keras_calib.types import Array, Tensor


class Steps(OneVsRest):
    """Base of the maps with a table: positions as log-odds, then values."""

    def save_own_variables(self, store: Any) -> None:
        """Saves the weights, and marks that the positions are log-odds."""
        super().save_own_variables(store)
        store["log_odds"] = np.ones(())

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights; those saved by 0.2.0 have probabilities as positions."""
        positions, values = (np.array(store[key], "float64") for key in "01")
        if "log_odds" not in store.keys():
            positions = log_odds_of(np.clip(positions, 1e-38, 1 - 2**-25))
        self.set_weights([positions, values])


def log_odds_of(p: Tensor) -> Tensor:
    """Returns log p - log(1 - p)."""
    xp = namespace(p)
    # 1 - p is exact for p >= 1/2, and large enough below. ONNX has no log1p.
    return xp.log(p) - xp.log(1.0 - p)


def bounded(rates: Array, weight: Array) -> Array:
    """Clips rates to [1 / (N + 2), 1 - 1 / (N + 2)]: N samples show no rarer event."""
    least = 1.0 / (weight.sum() + 2.0)
    clipped: Array = np.clip(rates, least, 1.0 - least)
    return clipped


def count_below(knots: Tensor, x: Tensor) -> Tensor:
    """Counts for each class the knots that are <= x, by bisection without a branch.

    Args:
        knots: ascending knots of shape (C, M).
        x: values of shape (..., C).

    Returns:
        int32 counts in [0, M], of the shape of `x`.
    """
    m = knots.shape[-1]
    count = ops.zeros_like(x, dtype="int32")
    for power in reversed(range(m.bit_length())):
        longer = count + 2**power
        there = look_up(knots, ops.minimum(longer, m) - 1)
        count = ops.where(ops.logical_and(longer <= m, there <= x), longer, count)
    return count


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Returns table[c, index_c] for each class c of the last axis of `index`."""
    c, m = table.shape
    rows = ops.arange(c, dtype="int32") * m
    return ops.take(ops.reshape(table, (-1,)), index + rows, axis=0)
