"""PolyLoss, exact where its terms cancel."""

import numpy as np
import pytest

from keras_calib import PolyLoss
from tests.losses import exact
from tests.losses.tools import per_sample, value_and_gradient

MP = exact.mp
V4 = np.array([[1.0, 2.0, 0.5, -1.0]])


def test_reference():
    loss = PolyLoss(1.0, from_logits=True, dtype="float64")
    value, gradient = value_and_gradient(loss, [0], V4, "float64")
    assert value == pytest.approx(2.270974080037655, abs=1e-15)
    expected = [-0.94973085, 0.74610574, 0.16647869, 0.03714642]
    np.testing.assert_allclose(gradient[0], expected, atol=6e-9)


def test_no_factor_on_the_logarithm():
    """p = .5, epsilon = 2: 1.6931, where D2's formula has 3.0794."""
    loss = PolyLoss(2.0, dtype="float64")
    assert per_sample(loss, [0], [[0.5, 0.5]])[0] == pytest.approx(1.6931, abs=5e-5)


@pytest.mark.parametrize("epsilons", [[], [2.0], [-1.0], [-1.0, -0.5, -1 / 3], [0, 1]])
def test_exact(epsilons):
    """Dropped terms (epsilon_j = -1/j) leave sum_{j>N} q^j / j, to the last digit."""
    # An epsilon of -1/3 means the fraction, not its nearest float.
    with MP.workdps(1000):
        coefficients = [
            -MP.mpf(1) / j if e == -1 / j else MP.mpf(e)
            for j, e in enumerate(epsilons, 1)
        ]

    def reference(p, q):
        with MP.workdps(1000):
            terms = [c * q**j for j, c in enumerate(coefficients, 1)]
            slopes = [j * c * q ** (j - 1) for j, c in enumerate(coefficients, 1)]
            # Beyond 1000 digits, at a margin of 1e4, all of it is 0 in any float.
            value = exact.minus_log(p, q) + MP.fsum(terms) if q > 1e-200 else MP.mpf(0)
            return value, 1 + p * MP.fsum(slopes)

    exact.check(PolyLoss(epsilons), reference)


def test_a_dropped_term_leaves_the_rest():
    """At q = 1e-3 and epsilon = -1: q^2/2 + q^3/3 + ..., where -log p - q has 1e-4."""
    loss = PolyLoss(-1.0, dtype="float32", from_logits=True)
    margin = np.log(999.0)
    q = 1e-3
    expected = sum(q**j / j for j in range(2, 9))
    got = per_sample(loss, [0], [[margin, 0.0]])[0]
    assert got == pytest.approx(expected, rel=2e-6)


def test_bad_arguments():
    with pytest.raises(
        ValueError, match=r"`epsilons\[0\]` .*at least -1. Received: -2"
    ):
        PolyLoss(-2)
    with pytest.raises(ValueError, match=r"`epsilons\[1\]` .*at least -0.5"):
        PolyLoss([0.0, -0.6])
