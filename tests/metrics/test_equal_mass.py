"""Equal mass through fine bins: the state and the error are bounded."""

import numpy as np
import pytest

import keras_calib
from keras_calib import ExpectedCalibrationError
from tests.backends import slow_on_jax
from tests.metrics.reference import equal_mass


def draw(shape, n, seed):
    """Two-class predictions whose confidences crowd in a given way."""
    rng = np.random.default_rng(seed)
    c = {
        "even": 0.5 + rng.random(n) / 2,
        "saturated": 1 - rng.random(n) ** 8 / 2,
        "tied": rng.choice([0.6, 0.75, 0.9, 1.0], n),
        "one": np.full(n, 0.8),
    }[shape].astype("float32")
    y = (rng.random(n) > c**1.5).astype("int32")
    return y, np.stack([c, 1 - c], axis=-1)


@slow_on_jax
@pytest.mark.parametrize(
    ("shape", "ties"),
    [("even", False), ("saturated", False), ("tied", True), ("one", True)],
)
@pytest.mark.parametrize("n", [50, 5000])
@pytest.mark.parametrize("num_bins", [1, 5, 15])
def test_error_is_within_its_bound_and_state_is_fixed(shape, ties, n, num_bins):
    y, p = draw(shape, n, seed=n + num_bins)
    metric = ExpectedCalibrationError(num_bins, binning="equal_mass")
    metric.update_state(y, p)
    exact = keras_calib.evaluate(y, p, num_bins=num_bins)["equal_mass_ece"]
    if not ties:  # no rule splits them but the order
        w = np.ones(n)
        assert exact == pytest.approx(equal_mass(y, p.astype("float64"), w, num_bins))
    bound = metric.error_bound()
    assert abs(float(metric.result()) - exact) <= bound + 1e-6
    assert bound <= 2.01 * num_bins * 0.25
    assert sum(np.prod(v.shape) for v in metric.variables) == 2 * 4608 * 4
    statistics = metric.statistics()
    assert statistics.num_bins == num_bins
    np.testing.assert_allclose(statistics.weight, n / num_bins, atol=1.0)


def test_the_bound_shrinks_where_confidences_spread():
    y, p = draw("even", 200_000, seed=0)
    metric = ExpectedCalibrationError(15, binning="equal_mass")
    metric.update_state(y, p)
    assert metric.error_bound() < 0.03


def test_ties_count_alike_in_any_order():
    y, p = draw("tied", 1000, seed=0)
    found = []
    for order in (slice(None), slice(None, None, -1)):
        found.append(keras_calib.evaluate(y[order], p[order])["equal_mass_ece"])
    assert found[0] == pytest.approx(found[1], abs=1e-12)


def test_fine_statistics_of_two_streams_add_up():
    (y1, p1), (y2, p2) = draw("even", 500, 1), draw("saturated", 700, 2)
    one, two, both = (ExpectedCalibrationError(binning="equal_mass") for _ in range(3))
    one.update_state(y1, p1)
    two.update_state(y2, p2)
    both.update_state(np.append(y1, y2), np.concatenate([p1, p2]))
    merged = one.fine_statistics() + two.fine_statistics()
    assert merged.equal_mass(15).ece() == pytest.approx(float(both.result()), abs=1e-6)
