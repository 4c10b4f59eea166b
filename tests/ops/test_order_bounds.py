"""The bounds hold for every order within the cells, and say something."""

import numpy as np
import pytest

import keras_calib
from keras_calib.metrics import BinStatistics
from keras_calib.ops import order_bounds, ranked
from keras_calib.ops.binning import NUM_FINE_BINS, fine_edges, fine_index
from tests.backends import slow_on_jax

COVERAGE, BINS = 0.7, 7


def statistics(c, h, w, exact):
    """Sums over one cell for each confidence, or over fine bins."""
    if exact:
        found, cell = np.unique(c, return_inverse=True)
        edges = np.append(found, 1.0)
    else:
        cell, edges = fine_index(c), fine_edges()
        assert len(edges) == NUM_FINE_BINS + 1
    sums = [np.bincount(cell, x, len(edges) - 1) for x in (w, w * c, w * h)]
    return BinStatistics(*sums, edges=edges)


def figures(found):
    sums = found.sums
    return {
        "equal_mass": found.equal_mass(BINS).ece(),
        "ks": float(ranked.ks_error(sums)),
        "aurc": float(ranked.area_under_risk_coverage(sums)),
        "accuracy": float(ranked.accuracy_at_coverage(sums, COVERAGE)),
    }


def bounds(found):
    return {
        "equal_mass": order_bounds.equal_mass_bound(found.sums, found.edges, BINS),
        "ks": order_bounds.ks_bound(found.sums, found.edges),
        "aurc": order_bounds.aurc_bound(found.sums),
        "accuracy": order_bounds.accuracy_bound(found.sums, COVERAGE),
    }


DRAWS = {
    "uniform": lambda rng, n: rng.random(n),
    "saturated": lambda rng, n: 1 - 1e-9 * rng.random(n),
    "one": lambda rng, n: np.ones(n),
    "one cell": lambda rng, n: 0.75 + 1e-3 * rng.random(n),
    "ties": lambda rng, n: rng.choice([0.7, 0.7001, 0.9, 1.0], n),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("order", ["random", "rising", "falling"])
def test_they_hold(draw, order):
    rng = np.random.default_rng(0)
    for n in (3, 40, 500, 501):
        c = draw(rng, n)
        h = (rng.random(n) < 0.8).astype(float)
        if order != "random":  # hits last or first
            c = np.sort(c)
            h = np.sort(h)[:: 1 if order == "rising" else -1]
        for w in (np.ones(n), rng.integers(1, 4, n), rng.random(n)):
            exact, fine = (statistics(c, h, w, exact) for exact in (True, False))
            found, expected = figures(fine), figures(exact)
            for name, bound in bounds(fine).items():
                off = abs(found[name] - expected[name])
                assert off <= bound + 1e-12, (name, n, off, bound)
                assert bound <= 1


def test_they_say_something():
    rng = np.random.default_rng(0)
    n = 20_000
    h = (rng.random(n) < 0.97).astype(float)
    saturated = 1 - 1e-9 * rng.random(n)
    for c, most in ((saturated, 0.12), (np.ones(n), 0.0), (rng.random(n), 0.02)):
        found = bounds(statistics(c, h, np.ones(n), False))
        assert max(found.values()) <= most, found


@slow_on_jax
def test_those_of_metric_and_evaluation_agree():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 300)
    y = rng.integers(0, 3, 300)
    metric = keras_calib.ExpectedCalibrationError(BINS, binning="equal_mass")
    metric.update_state(y, p)
    found = keras_calib.evaluate(y, p, exact=False, num_bins=BINS, coverage=COVERAGE)
    h = (p.argmax(-1) == y).astype(float)
    expected = bounds(statistics(p.max(-1), h, np.ones(300), False))
    assert list(found.error_bounds.values()) == pytest.approx([*expected.values()])
    assert metric.error_bound() == pytest.approx(expected["equal_mass"], abs=1e-4)
