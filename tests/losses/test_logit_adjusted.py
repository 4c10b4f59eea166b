"""Cross-entropy of logits that are adjusted by the frequencies of the classes."""

import numpy as np
import pytest
from scipy.special import log_softmax

from keras_calib.losses import LogitAdjustedCE
from tests.losses.tools import per_sample, value_and_gradient

PRIORS = [0.7, 0.2, 0.1]


def test_by_its_definition():
    rng = np.random.default_rng(0)
    z, y = 3 * rng.normal(size=(30, 3)), rng.integers(0, 3, 30)
    for strength in (0.0, 1.0, 1.5):
        loss = LogitAdjustedCE(PRIORS, strength, reduction=None, dtype="float64")
        log_p = log_softmax(z + strength * np.log(PRIORS), -1)
        found = per_sample(loss, y, z)
        np.testing.assert_allclose(found, -log_p[np.arange(30), y], rtol=1e-5)


def test_counts_are_as_good_as_frequencies():
    z = [[1.0, -1.0, 0.5]]
    counts = LogitAdjustedCE([70, 20, 10])
    assert float(counts([2], z)) == pytest.approx(
        float(LogitAdjustedCE(PRIORS)([2], z))
    )


def test_equal_logits_are_the_minimum_of_labels_as_frequent():
    """softmax(z) are the probabilities where the classes are equally frequent."""
    loss = LogitAdjustedCE(PRIORS, reduction=None, dtype="float64")
    _, gradient = value_and_gradient(loss, [PRIORS], np.full((1, 3), 0.3), "float64")
    np.testing.assert_allclose(gradient, 0, atol=1e-7)


@pytest.mark.parametrize("priors", [0.5, None, [1.0, 0.0], [], [1.0]])
def test_bad_priors(priors):
    with pytest.raises(ValueError, match="`priors` must be a number above 0 for each"):
        LogitAdjustedCE(priors)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`priors\[1\]` .*Received: -1"):
        LogitAdjustedCE([1, -1])
    with pytest.raises(ValueError, match="`strength` .*Received: -1"):
        LogitAdjustedCE(PRIORS, -1)
    with pytest.raises(ValueError, match="each of the 2. Received: 3"):
        LogitAdjustedCE(PRIORS)([0], [[0.0, 1.0]])
