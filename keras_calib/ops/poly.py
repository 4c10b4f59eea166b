"""PolyLoss: cross-entropy's series in 1 - p with other coefficients.

    l(p) = -log p + sum_j epsilon_j (1 - p)^j
    W(p) = 1 + p sum_j j epsilon_j (1 - p)^(j - 1)

Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification Loss
Functions", ICLR 2022, arXiv 2204.12511.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from keras_calib.ops.floats import at_most, dtype_name
from keras_calib.types import Tensor

__all__ = ["poly_value", "poly_weight"]


def poly_value(
    log_p: Tensor, p: Tensor, q: Tensor, epsilons: Sequence[float]
) -> Tensor:
    """Computes -log p + sum_j epsilon_j q^j.

    An epsilon_j near -1/j cancels a leading term of -log p, and its digits. The loss is
    then computed as sum_{j<=N} (1/j + epsilon_j) q^j + sum_{j>N} q^j / j, in which no
    term is negative.
    """
    if all(1 + j * e >= 0.5 for j, e in enumerate(epsilons, 1)):
        return _polynomial(q, epsilons, 1) - log_p
    rest = _log_tail(log_p, q, len(epsilons))
    return rest + _polynomial(q, [1 / j + e for j, e in enumerate(epsilons, 1)], 1)


def poly_weight(
    log_p: Tensor, p: Tensor, q: Tensor, epsilons: Sequence[float]
) -> Tensor:
    """Computes q^N + p sum_{j<=N} (1 + j epsilon_j) q^(j-1), no term negative."""
    slopes = [1 + j * e for j, e in enumerate(epsilons, 1)]
    return q ** len(slopes) + p * _polynomial(q, slopes, 0)


def _log_tail(log_p: Tensor, q: Tensor, n: int) -> Tensor:
    """Returns -log p - sum_{j<=n} q^j / j = sum_{j>n} q^j / j, without cancellation.

    For q <= 0.6 it is the series, whose remainder is smaller than a rounding error.
    """
    terms = 64 if dtype_name(q) == "float64" else 32
    series = _polynomial(
        at_most(q, 0.6), [1 / j for j in range(n + 1, n + terms)], n + 1
    )
    rest = -log_p - _polynomial(q, [1 / j for j in range(1, n + 1)], 1)
    return ops.where(q <= 0.6, series, rest)


def _polynomial(x: Tensor, coefficients: Sequence[float], power: int) -> Tensor:
    """Returns x^power sum_i coefficients_i x^i, by Horner's method."""
    total = ops.zeros_like(x)
    for c in reversed(coefficients):
        total = total * x + c
    return total * x**power if power else total
