"""With `exact=False` fine bins stand for the order of the confidences."""

import numpy as np
import pytest

import keras_calib
from keras_calib.evaluation import batches, confidences
from tests.backends import slow_on_jax
from tests.metrics.reference import data

Y, P, W = data("classes")
ORDERED = (
    "equal_mass_ece",
    "equal_mass_ece_l2_debiased",
    "ks_calibration_error",
    "aurc",
    "accuracy_at_coverage",
)


def test_figures_of_fine_bins(monkeypatch):
    expected = keras_calib.evaluate(Y, P, sample_weight=W)
    monkeypatch.setattr(batches, "CHUNK", 150 * 5)
    found = keras_calib.evaluate(Y, P, sample_weight=W, exact=False, verbose=False)
    assert (found.exact, expected.exact) == (False, True)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = 0.02 if name in ORDERED else 1e-12
        assert found[name] == pytest.approx(value, abs=tolerance), name


@slow_on_jax
def test_it_folds_above_a_number_of_samples(monkeypatch):
    folded = keras_calib.evaluate(Y, P, exact=False)
    whole = keras_calib.evaluate(Y, P)
    monkeypatch.setattr(confidences, "MOST_KEPT", 299)
    monkeypatch.setattr(batches, "CHUNK", 50 * 5)
    found = keras_calib.evaluate(Y, P, verbose=False)
    assert not found.exact
    assert found == pytest.approx(dict(folded), abs=1e-12)
    found = keras_calib.evaluate(Y, P, verbose=False, exact=True)
    assert found.exact and found == pytest.approx(dict(whole), abs=1e-12)
    assert keras_calib.evaluate(Y[1:], P[1:], verbose=False).exact


def test_without_checks_what_cannot_be_is_nan():
    found = keras_calib.evaluate(Y, 3 * P, exact=False, validate=False)
    figures = set(found) - {"ece_low", "ece_high"}
    assert all(np.isnan(found[name]) for name in figures), found


def test_the_size_is_stated():
    assert confidences.MOST_KEPT == 2_000_000
    stated = " ".join(keras_calib.evaluate.__doc__.split())
    assert stated.count("up to 2 million") == 2


def test_exact_is_a_boolean():
    with pytest.raises(ValueError, match="`exact` must be True or False"):
        keras_calib.evaluate(Y, P, exact="no")
