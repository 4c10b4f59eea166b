"""PolyLoss: cross-entropy's series in 1 - p with other coefficients.

    l(p) = -log p + sum_j epsilon_j (1 - p)^j
    W(p) = 1 + p sum_j j epsilon_j (1 - p)^(j - 1)

Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification Loss
Functions", ICLR 2022, arXiv 2204.12511.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_calib.ops.floats import dtype_name


def poly_value(log_p: Any, p: Any, q: Any, epsilons: Sequence[float]) -> Any:
    """Computes sum_{j<=N} (1/j + epsilon_j) q^j + sum_{j>N} q^j / j.

    With epsilon_j >= -1/j no term is negative and nothing cancels, even where
    epsilon_j = -1/j drops the leading terms.
    """
    loss = _log_tail(log_p, q, len(epsilons))
    return loss + _polynomial(q, [1 / j + e for j, e in enumerate(epsilons, 1)], 1)


def poly_weight(log_p: Any, p: Any, q: Any, epsilons: Sequence[float]) -> Any:
    """Computes q^N + p sum_{j<=N} (1 + j epsilon_j) q^(j-1), no term negative."""
    slopes = [1 + j * e for j, e in enumerate(epsilons, 1)]
    return q ** len(slopes) + p * _polynomial(q, slopes, 0)


def _log_tail(log_p, q, n):
    """Returns -log p - sum_{j<=n} q^j / j = sum_{j>n} q^j / j, without cancellation.

    For q <= 1/2 by the series: what follows its last term is below a rounding.
    """
    terms = 48 if dtype_name(q) == "float64" else 22
    series = _polynomial(
        ops.minimum(q, 0.5), [1 / j for j in range(n + 1, n + terms)], n + 1
    )
    rest = -log_p - _polynomial(q, [1 / j for j in range(1, n + 1)], 1)
    return ops.where(q <= 0.5, series, rest)


def _polynomial(x, coefficients, power):
    """Returns x^power sum_i coefficients_i x^i, by Horner."""
    total = ops.zeros_like(x)
    for c in reversed(coefficients):
        total = total * x + c
    return total * x**power
