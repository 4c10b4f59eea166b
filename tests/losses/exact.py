"""Exact values and gradients of losses of the true class, with mpmath.

Nothing here shares a formula with the package: a reference gives the loss and its
weight -dl/dlog p as a function of the exact probability p and its complement q.
"""

from dataclasses import dataclass
from functools import cache

import mpmath as mp
import numpy as np

from tests.losses.tools import value_and_gradient

mp.mp.dps = 60

MARGINS = [
    *(-1e4, -300.0, -104.0, -88.0, -87.0, -60.0, -30.0, -16.0, -5.0, -1.0, -0.125),
    *(0.0, 0.125, 1.0, 5.0, 16.0, 30.0, 60.0, 87.0, 104.0, 300.0, 1e4),
]
NUM_CLASSES = [2, 10, 1000]
# The relative errors of values and gradients that users are promised, and what the
# dtype cannot hold at all: its smallest normal number.
TOLERANCE = {"float32": (2e-6, 5e-6, 1.2e-38), "float64": (1e-12, 1e-11, 2.3e-308)}


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


def check(loss, reference, lost=1.0):
    """Compares a loss with its reference: both dtypes, all K, all margins.

    Args:
        loss: a `TrueClassLoss` whose arguments float32 holds to 1e-7.
        reference: a function of (p, q) that returns the loss and its weight.
        lost: how many times K smallest normal numbers the absolute error may be.
    """
    config = loss.get_config() | {"reduction": None}
    if "from_logits" in config:
        config["from_logits"] = True
    for k in NUM_CLASSES:
        exactly = case(k)
        pairs = [reference(p, q) for p, q in zip(exactly.p, exactly.q, strict=True)]
        values = [float(value) for value, _ in pairs]
        scale = [float(w * q) for (_, w), q in zip(pairs, exactly.q, strict=True)]
        # W p_j for the other classes and -W q for the true one.
        gradients = np.array(scale)[:, None] * exactly.others
        gradients[np.arange(len(scale)), exactly.labels] = -np.array(scale)
        largest = np.abs(gradients).max(axis=-1, keepdims=True)
        for dtype, (of_value, of_gradient, tiny) in TOLERANCE.items():
            one = type(loss).from_config(config | {"dtype": dtype})
            found = value_and_gradient(one, exactly.labels, exactly.logits, dtype)
            absolute = k * tiny * lost
            np.testing.assert_allclose(found[0], values, rtol=of_value, atol=absolute)
            error = np.abs(found[1] - gradients)
            assert np.all(error <= of_gradient * largest + 1e-12 + absolute), (k, dtype)


def minus_log(p, q):
    """Returns -log p, with all its digits as q -> 0."""
    return -mp.log1p(-q) if q < 0.5 else -mp.log(p)
