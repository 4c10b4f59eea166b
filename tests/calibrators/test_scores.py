"""Scores of any size, on edges, and what is served of them."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy
from scipy.special import expit, log_softmax

from keras_calib import (
    ExpectedCalibrationError,
    NegativeLogLikelihood,
    calibrate,
    calibrators,
)
from keras_calib.calibrators.methods import METHODS
from tests.calibrators import data


def nll(p, y):
    p = convert_to_numpy(p).astype("float64")
    return -np.log(p[np.arange(len(y)), y]).mean()


@pytest.mark.parametrize("scale", [1e-5, 50.0, 1e5])
@pytest.mark.parametrize("classes", [2, 4])
def test_platt_does_not_depend_on_the_scale(scale, classes):
    z, y = data.made(2000, classes)
    layer = calibrators.PlattScaling(dtype="float64")
    expected = nll(layer.fit(z, y)(z), y)
    found = nll(layer.fit(scale * z, y)(scale * z), y)
    if classes == 2:  # with more, the log-odds change their form with the scale
        assert found == pytest.approx(expected, rel=1e-6)
    assert found < np.log(classes) - 0.2


def test_beta_of_large_scores():
    """There a log p - b log(1 - p) is two slopes, one on each side of 0."""
    rng = np.random.default_rng(0)
    d = rng.normal(size=2000)
    y = (rng.uniform(size=2000) < expit(2 * d)).astype(int)
    x = 1e5 * d[:, None]
    p = convert_to_numpy(calibrators.BetaCalibration(dtype="float64").fit(x, y)(x))
    right = expit(2 * d[:, None])
    assert nll(np.hstack([1 - p, p]), y) < nll(np.hstack([1 - right, right]), y) + 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("activation", ["linear", "softmax"])
@pytest.mark.parametrize(("std", "k"), [(1.0, 4), (15.0, 2), (50.0, 4)])
def test_the_report_says_what_is_served(method, activation, std, k):
    z, y = data.made(1500, k)
    z = (z * (std / 3)).astype("float32")
    net = keras.Sequential([keras.Input((k,)), keras.layers.Activation(activation)])
    calibrated = calibrate(net, z, y, method, verbose=0)
    p = calibrated.predict(z, batch_size=500, verbose=0)
    for name, metric, atol in (
        ("nll", NegativeLogLikelihood(), 2e-5),
        # One rounding moves a confidence that lies on an edge to the next bin.
        ("ece", ExpectedCalibrationError(), 2 / len(y)),
    ):
        metric.update_state(y, p)
        found = calibrated.calibration_report.after[name]
        assert found == pytest.approx(float(metric.result()), abs=atol), name


def test_isotonic_steps_where_p_rounds_to_1():
    """The float32 layer gives what the float64 fit promises."""
    z, y = data.made(4000, 2, temperature=20.0)
    z = 7 * z
    served = calibrators.IsotonicCalibration().fit(z, y)(z.astype("float32"))
    exact = calibrators.IsotonicCalibration(dtype="float64").fit(z, y)(z)
    assert nll(served, y) == pytest.approx(nll(exact, y), abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_votes_of_ten_trees_fall_into_the_bins_of_the_metrics(dtype):
    rng = np.random.default_rng(0)
    votes = np.repeat(np.arange(11), 40)
    y = (rng.uniform(size=len(votes)) < 0.2 + 0.06 * votes).astype(int)
    p = (votes / 10).astype(dtype)[:, None]
    layer = calibrators.HistogramBinning(10, from_logits=False, dtype=dtype)
    index = np.minimum(votes, 9)  # 1 is in the last bin
    rates = np.bincount(index, y) / np.bincount(index)
    found = convert_to_numpy(layer.fit(p, y)(p))[:, 0]
    np.testing.assert_allclose(found, rates[index], rtol=1e-6)


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
def test_votes_for_three_classes(binning):
    """The layer puts each row where the fit did, in both precisions."""
    rng = np.random.default_rng(0)
    votes = rng.multinomial(10, [0.5, 0.3, 0.2], size=900)
    y = (votes * rng.uniform(0.5, 1.5, votes.shape)).argmax(-1)
    p = votes / 10
    layers = [
        calibrators.HistogramBinning(10, binning, from_logits=False, dtype=dtype)
        for dtype in ("float64", "float32")
    ]
    exact, rounded = (convert_to_numpy(layer.fit(p, y)(p)) for layer in layers)
    np.testing.assert_allclose(rounded, exact, atol=1e-6)
    if binning == "equal_mass":
        return
    rates = np.zeros(votes.shape)
    for k, index in enumerate(np.minimum(votes, 9).T):
        hits, mass = np.bincount(index, y == k, 10), np.bincount(index, minlength=10)
        rates[:, k] = (hits / mass.clip(1))[index]
    rates = rates.clip(1 / 902, 901 / 902)
    np.testing.assert_allclose(exact, rates / rates.sum(-1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_masked_classes_are_read_as_probabilities_of_0(method):
    z, y = data.made(600, 4)
    masked = np.arange(600) % 3 == 0
    z[masked, 3], y[masked & (y == 3)] = -np.inf, 0
    z = log_softmax(z, axis=-1)  # some maps see a shift of the logits
    p = np.exp(z)
    layer = METHODS[method](dtype="float64")
    found = convert_to_numpy(layer.fit(z, y)(z))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-6)
    other = convert_to_numpy(METHODS[method](dtype="float64").fit(p, y)(p))
    np.testing.assert_allclose(found, other, atol=2e-3)


@pytest.mark.parametrize("method", ["isotonic", "histogram"])
def test_a_file_of_an_older_release(method):
    """Its positions are probabilities."""
    z, y = data.made(500, 3)
    layer = METHODS[method]().fit(z, y)
    store = {}
    layer.save_own_variables(store)
    assert store.pop("log_odds") == 1
    store["0"] = expit(np.asarray(store["0"], "float64"))
    other = type(layer).from_config(layer.get_config())
    other.build((None, 3))
    other.load_own_variables(store)
    found, expected = (convert_to_numpy(each(z)) for each in (other, layer))
    np.testing.assert_allclose(found, expected, atol=1e-5)
