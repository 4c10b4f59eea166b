"""Cross-checks run live against scikit-learn and TensorFlow Probability."""

import numpy as np
import pytest

from keras_calib import metrics
from tests.metrics.reference import data, top


def test_scikit_learn_calibration_curve():
    calibration = pytest.importorskip("sklearn.calibration")
    y, p, _ = data("binary", n=500)
    rate, mean = calibration.calibration_curve(y[:, 0], p[:, 0], n_bins=12)
    ece = metrics.BinaryECE(num_bins=12)
    ece.update_state(y, p)
    table = ece.statistics().table()
    np.testing.assert_allclose([r["accuracy"] for r in table], rate, atol=1e-6)
    np.testing.assert_allclose([r["confidence"] for r in table], mean, atol=1e-6)


def test_scikit_learn_brier_score_and_log_loss():
    sklearn = pytest.importorskip("sklearn.metrics")
    y, p, w = data("binary")
    brier = metrics.BrierScore()
    brier.update_state(y, p, w)
    expected = sklearn.brier_score_loss(y[:, 0], p[:, 0], sample_weight=w)
    assert float(brier.result()) == pytest.approx(expected, abs=1e-6)
    y, p, w = data("classes")
    p = p / p.sum(-1, keepdims=True, dtype="float64")
    nll = metrics.NegativeLogLikelihood()
    nll.update_state(y, p, w)
    expected = sklearn.log_loss(y, p, sample_weight=w)
    assert float(nll.result()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("num_bins", [10, 15])
def test_tfp_expected_calibration_error(num_bins):
    """TFP takes (lo, hi] and float32 logits; no confidence here is on an edge."""
    tfp = pytest.importorskip("tensorflow_probability")
    y, p, _ = data("classes")
    z = np.log(p)
    theirs = tfp.stats.expected_calibration_error(num_bins, logits=z, labels_true=y)
    ours = metrics.ExpectedCalibrationError(num_bins, from_logits=True)
    ours.update_state(y, z)
    assert float(ours.result()) == pytest.approx(float(theirs), abs=2e-6)


def test_tfp_brier_score_and_decomposition():
    """TFP's score and uncertainty are less by 1; its reliability holds the variance
    within the groups; its resolution is transposed, see test_oracle.py."""
    tfp = pytest.importorskip("tensorflow_probability")
    y, p, _ = data("classes")
    z = np.log(p)
    uncertainty, _, reliability = tfp.stats.brier_decomposition(labels=y, logits=z)
    ours = metrics.BrierDecomposition(from_logits=True)
    ours.update_state(y, z)
    parts = ours.result()
    found = float(parts["brier_uncertainty"])
    assert found - 1 == pytest.approx(float(uncertainty), abs=2e-6)
    found = float(parts["brier_reliability"] + parts["brier_within_variance"])
    assert found == pytest.approx(float(reliability), abs=2e-6)
    brier = metrics.BrierScore(from_logits=True)
    brier.update_state(y, z)
    theirs = float(np.mean(tfp.stats.brier_score(labels=y, logits=z)))
    assert float(brier.result()) - 1 == pytest.approx(theirs, abs=2e-6)


def test_keras_entropy_and_cross_entropy():
    import keras

    y, p, _ = data("classes")
    nll = metrics.NegativeLogLikelihood(from_logits=True)
    nll.update_state(y, np.log(p))
    peer = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(nll.result()) == pytest.approx(float(peer(y, np.log(p))), abs=1e-6)
    found = metrics.PredictiveEntropy(from_logits=True)
    found.update_state(y, np.log(p))
    peer = keras.losses.CategoricalCrossentropy()  # of p with itself
    assert float(found.result()) == pytest.approx(float(peer(p, p)), abs=1e-6)


def test_likelihood_of_hopeless_logits_is_exact():
    nll = metrics.NegativeLogLikelihood(from_logits=True)
    nll.update_state([1, 0], [[0.0, -1e4], [0.0, -1e4]])
    assert float(nll.result()) == 5000.0


def test_the_top_label_of_two_equals_is_the_first():
    y, p = np.array([0, 1]), np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    gap = metrics.CalibrationGap()
    gap.update_state(y, p)
    assert float(gap.result()) == pytest.approx(0.4 - 0.5, abs=1e-6)
    assert top(y, p)[1].tolist() == [1.0, 0.0]
