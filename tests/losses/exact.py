"""Exact values and gradients of losses of the true class, with mpmath.

Nothing here shares a formula with the package: a loss is given as a function of
the exact probability p and its complement q.
"""

from dataclasses import dataclass
from functools import cache

import mpmath as mp
import numpy as np

mp.mp.dps = 60

MARGINS = [
    *(-1e4, -300.0, -104.0, -88.0, -87.0, -60.0, -30.0, -16.0, -5.0, -1.0, -0.125),
    *(0.0, 0.125, 1.0, 5.0, 16.0, 30.0, 60.0, 87.0, 104.0, 300.0, 1e4),
]
NUM_CLASSES = [2, 10, 1000]


@dataclass(frozen=True)
class Case:
    """Logits of shape (margins, K), and what is exactly true of them."""

    logits: np.ndarray
    labels: np.ndarray
    p: list  # of the true class
    q: list  # its complement
    others: np.ndarray  # p_j / q, float64: the shares of the other classes


@cache
def case(num_classes: int) -> Case:
    """Returns a row of logits for each margin between the true and the next class."""
    rng = np.random.default_rng(num_classes)
    n = len(MARGINS)
    labels = rng.integers(0, num_classes, n)
    # Logits that float32 holds exactly, the largest rival at 0.
    rivals = np.round(-8 * rng.random((n, num_classes)) * 64) / 64
    rivals[np.arange(n), (labels + 1) % num_classes] = 0.0
    rivals[np.arange(n), labels] = MARGINS
    p, q, others = [], [], []
    for row, label in zip(rivals, labels, strict=True):
        e = [mp.exp(mp.mpf(z)) for z in row]
        rest = mp.fsum(x for j, x in enumerate(e) if j != label)
        total = rest + e[label]
        p.append(e[label] / total)
        q.append(rest / total)
        others.append([0.0 if j == label else float(x / rest) for j, x in enumerate(e)])
    return Case(rivals, labels, p, q, np.array(others))


def gradient(case: Case, weights: list) -> np.ndarray:
    """Returns W p_j for the other classes and -W q for the true one, float64."""
    scale = np.array([float(w * q) for w, q in zip(weights, case.q, strict=True)])
    result = scale[:, None] * case.others
    result[np.arange(len(scale)), case.labels] = -scale
    return result


def gamma_ce(p, q, gamma, floor=0.0):
    """Returns the loss of gamma-cross-entropy and its weight, with mpmath."""
    gamma, floor = mp.mpf(gamma), mp.mpf(floor)

    def loss(p, q):
        if gamma == 1:
            return q
        if p < 0.5:
            return -mp.log(gamma + (1 - gamma) * p) / (1 - gamma)
        return -mp.log1p(-(1 - gamma) * q) / (1 - gamma)

    weight = p / (gamma + (1 - gamma) * p)
    if weight >= floor:
        return loss(p, q), weight
    knee = floor * gamma / (1 - floor * (1 - gamma))
    return loss(knee, 1 - knee) - floor * mp.log(p / knee), floor


def minus_log(p, q):
    """Returns -log p, with all its digits as q -> 0."""
    return -mp.log1p(-q) if q < 0.5 else -mp.log(p)
