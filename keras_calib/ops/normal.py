"""The standard normal distribution, in its tails too."""

from __future__ import annotations

import math

from keras import ops

from keras_calib.ops.floats import at_least, at_most, dtype_name
from keras_calib.types import Tensor

__all__ = ["log_ndtr"]

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def log_ndtr(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Computes log Phi(x), its derivative lambda = phi / Phi, and lambda + x.

    Above -5 from erfc. Below, with a = -x, from Laplace's continued fraction, in
    which every term is positive:

        lambda + x  = 1 / (a + 2 / (a + 3 / (a + ...)))
        log Phi(x)  = -a^2 / 2 - log sqrt(2 pi) - log lambda

    Args:
        x: float tensor.

    Returns:
        `(log Phi(x), lambda(x), lambda(x) + x)`, each of the shape of `x` and with no
        cancellation.
    """
    a = at_least(-x, 5.0)
    # The fraction is cut after n levels. The rest, e = (n + 1) / (a + e') with e'
    # about e, is the root of e^2 + a e = n + 1.
    levels = 12 if dtype_name(x) == "float64" else 6
    excess = 2.0 * (levels + 1) / (a + ops.sqrt(a * a + 4.0 * (levels + 1)))
    for i in range(levels, 0, -1):
        excess = i / (a + excess)
    far_log = -0.5 * a * a - _LOG_SQRT_2PI - ops.log(a + excess)

    near = at_least(x, -5.0)
    tail = 0.5 * ops.erfc(ops.abs(near) * math.sqrt(0.5))
    # Phi(-5) is 2.9e-7, so the bound holds only where the other branch is taken.
    # Without it, a log of 0 here would make the derivative of that branch NaN.
    negative = ops.log(at_least(tail, 1e-7))
    near_log = ops.where(x < 0.0, negative, ops.log1p(-at_most(tail, 0.5)))
    slope = ops.exp(-0.5 * near * near - _LOG_SQRT_2PI - near_log)

    is_far = x < -5.0
    return (
        ops.where(is_far, far_log, near_log),
        ops.where(is_far, a + excess, slope),
        ops.where(is_far, excess, slope + near),
    )
