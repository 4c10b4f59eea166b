"""The gamma that matches a noise rate, and the one that stands still."""

import warnings

import numpy as np
import pytest
from scipy import optimize

from keras_calib import (
    GammaCE,
    gamma_matched_noise,
    noise_matched_gamma,
    starting_weight,
)
from tests.losses.tools import per_sample


@pytest.mark.parametrize(
    ("k", "eta", "gamma"),
    [
        (10, 0.1, 0.01099),
        (10, 0.2, 0.02439),
        (10, 0.3, 0.0411),
        (10, 0.4, 0.0625),
        (10, 0.5, 0.0909),
        (10, 0.6, 0.13043),
        (10, 0.8, 0.28571),
        (2, 0.2, 0.1111),
        (100, 0.4, 0.00662),
    ],
)
def test_reference(k, eta, gamma):
    digits = len(str(gamma)) - 2
    assert round(noise_matched_gamma(eta, k), digits) == gamma
    assert gamma_matched_noise(noise_matched_gamma(eta, k), k) == pytest.approx(eta)


def test_the_ends():
    assert noise_matched_gamma(0.0, 10) == 0.0
    assert noise_matched_gamma(1.0, 10) == 1.0
    assert gamma_matched_noise(1.0, 10) == 1.0


def test_recovers_the_clean_posterior():
    """K = 10, eta = .4, a top class of .8: the minimum is at .8 exactly."""
    k, eta = 10, 0.4
    clean = np.array([0.8] + [0.2 / 9] * 9)
    noisy = ((1 - eta) * clean + eta / k)[None]
    loss = GammaCE(noise_matched_gamma(eta, k), from_logits=True, dtype="float64")
    found = optimize.minimize_scalar(
        lambda z: per_sample(loss, noisy, np.array([[z] + [0.0] * 9]))[0],
        bracket=(0.0, 6.0),
        tol=1e-12,
    )
    p = np.exp(found.x) / (np.exp(found.x) + 9)
    assert p == pytest.approx(0.8, abs=1e-6)


def test_a_gamma_that_stands_still():
    with pytest.warns(UserWarning, match="gamma=0.1 is large beside 1/32000"):
        assert starting_weight(0.1, 32000) == pytest.approx(3.12e-4, rel=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert starting_weight(0.1, 32000, floor=0.3) == 0.3
        assert starting_weight(0.0, 32000) == 1.0
        assert starting_weight(0.1, 10) == pytest.approx(1 / 1.9)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`noise_rate` .*Received: 1.5"):
        noise_matched_gamma(1.5, 10)
    with pytest.raises(ValueError, match=r"`num_classes` .*Received: 1"):
        noise_matched_gamma(0.5, 1)
    with pytest.raises(ValueError, match=r"`gamma` .*Received: -1"):
        gamma_matched_noise(-1, 10)
    for function in (noise_matched_gamma, gamma_matched_noise, starting_weight):
        with pytest.raises(ValueError, match="`num_classes` must be a whole.*: 2.5"):
            function(0.2, 2.5)
