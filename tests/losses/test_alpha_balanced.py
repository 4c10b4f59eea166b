"""Cross-entropy with a factor for each class, or for positives and negatives."""

import numpy as np
import pytest

from keras_calib import AlphaBalancedBCE, AlphaBalancedCE
from tests.losses.tools import per_sample


def test_alpha_balanced():
    p = np.array([[0.2, 0.5, 0.3]])
    loss = AlphaBalancedCE([1.0, 0.25, 3.0], dtype="float64")
    expected = [-np.log(0.2), -0.25 * np.log(0.5), -3 * np.log(0.3)]
    got = per_sample(loss, [0, 1, 2], np.repeat(p, 3, axis=0))
    np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_alpha_weights_the_positives():
    loss = AlphaBalancedBCE(0.25, dtype="float64")
    got = per_sample(loss, [[1.0], [0.0]], [[0.9], [0.1]])
    np.testing.assert_allclose(got, np.array([0.25, 0.75]) * -np.log(0.9), rtol=1e-13)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`alpha.1.` .*Received: -1"):
        AlphaBalancedCE([1.0, -1])
    with pytest.raises(ValueError, match=r"`alpha` .*\[0, 1\]. Received: 2"):
        AlphaBalancedBCE(2)
