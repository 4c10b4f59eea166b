"""Tables of one probability's calibrated values: to fit and to look up."""

import numpy as np
from keras import ops

from keras_calib.types import Array, Tensor


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
