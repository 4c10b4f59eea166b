"""Equations of the texts behind the library, D1 to D5, that are no loss by themselves.

docs/articles says which; docs/errata.md has those that are printed wrong.
"""

import numpy as np
import pytest
from scipy.special import rel_entr, softmax
from scipy.stats import entropy

from keras_calib import ExpectedAccuracyLoss, GammaBCE, GammaCE, NegativeLogLikelihood
from tests.losses.tools import per_sample, value_and_gradient

GAMMAS = [1e-3, 0.1, 0.5, 1.0]
# Of the true class, from the hopeless to the certain.
P = np.concatenate([10.0 ** np.arange(-300, -3, 9), np.linspace(1e-3, 1, 1000)])


def gamma_ce(p, gamma):
    pair = np.stack([p, 1 - p], axis=-1)
    return per_sample(GammaCE(gamma, dtype="float64"), np.zeros(len(p), int), pair)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_loss_and_its_slope_are_bounded(gamma):
    """D1, 19 to 21: at most -log(gamma) / (1 - gamma), and 1 / gamma in p."""
    most = -np.log(gamma) / (1 - gamma) if gamma < 1 else 1.0
    value = gamma_ce(P, gamma)
    assert value.max() <= most * (1 + 1e-15)
    assert value[0] == pytest.approx(most, rel=1e-14)
    slope = -np.diff(gamma_ce(np.linspace(0, 1, 1001), gamma)) * 1000
    assert slope.min() > 0 and slope.max() <= (1 + 1e-9) / gamma


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_loss_falls_with_gamma(gamma):
    """D1, 17 and 18, as they should be."""
    p, step = np.linspace(0.01, 0.99, 99), 1e-6
    g = gamma - step
    found = (gamma_ce(p, g + step) - gamma_ce(p, g - step)) / (2 * step)
    u = g + (1 - g) * p
    # Near 1 the formula cancels; the series of both terms is -(1 - p)^2 / 2 there.
    expected = -np.log(u) / (1 - g) ** 2 - (1 - p) / ((1 - g) * u)
    if gamma == 1.0:
        expected = -((1 - p) ** 2) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-8)
    assert (found < 0).all()


def test_cross_entropy_is_entropy_plus_divergence():
    """D1, 48 and 49; D2, 63 and 64; D4; D5."""
    rng = np.random.default_rng(0)
    q, p = rng.dirichlet(np.ones(5), 40), rng.dirichlet(np.ones(5), 40)
    found = per_sample(GammaCE(0.0, dtype="float64"), q, p)
    expected = entropy(q, axis=-1) + rel_entr(q, p).sum(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_least_likelihood_is_that_of_the_posterior():
    """D1, 51; D2, 65: the mean of -log p(y|x) is at least H(Y|X) = H(Y) - I(X; Y)."""
    rng = np.random.default_rng(0)
    joint = rng.dirichlet(np.ones(12)).reshape(4, 3)  # of x and y
    information = rel_entr(joint, np.outer(joint.sum(1), joint.sum(0))).sum()
    least = entropy(joint.sum(0)) - information
    posterior = joint / joint.sum(1, keepdims=True)
    for p, more in ((posterior, 0.0), (softmax(rng.normal(size=(4, 3)), -1), 1e-3)):
        nll = NegativeLogLikelihood(dtype="float64")
        nll.update_state(np.tile(np.arange(3), 4), np.repeat(p, 3, 0), joint.ravel())
        excess = float(nll.result()) - least
        assert excess == pytest.approx(0, abs=1e-14) if more == 0 else excess > more


def test_the_examples_of_d5():
    ce = GammaCE(0.0, dtype="float64")
    found = per_sample(ce, [0, 0], [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]])
    np.testing.assert_allclose(found, [0.356675, 0.693147], atol=5e-7)


def test_the_gradient_of_binary_cross_entropy():
    """D5: sigmoid(z) - y, whose size is GHM's gradient norm."""
    z, y = np.array([[-3.0, -0.2, 0.4, 5.0]]), np.array([[0.0, 1.0, 0.0, 1.0]])
    loss = GammaBCE(0.0, label_reduction="sum", from_logits=True, dtype="float64")
    _, gradient = value_and_gradient(loss, y, z, "float64")
    np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-z)) - y, rtol=1e-13)


@pytest.mark.parametrize("noise", ["gaussian", "gumbel"])
def test_from_accuracy_to_chance(noise):
    """D2, 1 to 3, 6 and 17 to 19: the error rate, flat, as sigma goes to 0; as it
    grows, chance."""
    z = np.array([[2.0, 1.0, -1.0], [0.5, 1.0, 0.0], [-1.0, 0.0, 3.0]])
    y = np.array([0, 0, 0])
    kwargs = {"from_logits": True, "dtype": "float64"}
    sharp = ExpectedAccuracyLoss(noise, 1e-3, reduction=None, **kwargs)
    value, gradient = value_and_gradient(sharp, y, z, "float64")
    np.testing.assert_allclose(value, [0, 1, 1], atol=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-200)
    chance = per_sample(ExpectedAccuracyLoss(noise, 1e6, **kwargs), y, z)
    np.testing.assert_allclose(chance, 2 / 3, atol=1e-5)


def test_near_one_cross_entropy_is_the_smooth_error_rate():
    """D2, 41 to 48, with the remainder as it should be: at most (1 - p)^2 / (2p)."""
    p = np.linspace(0.9, 1, 101)
    error, ce = gamma_ce(p, 1.0), gamma_ce(p, 0.0)
    assert (ce - error >= error**2 / 2 - 1e-15).all()
    assert (ce - error <= error**2 / (2 * p) + 1e-15).all()
    second = error.mean() + np.var(p) / 2 + error.mean() ** 2 / 2
    assert 0 < ce.mean() - second < np.mean(error**3)


def test_how_hard_a_sample_pulls_by_its_probability():
    """D2, 35 to 38 and 49: the slope in p is 1 of the error rate, 1/p of cross-entropy,
    so that at p = 0.01 they are 1 and 100; and the table of ratios of the values."""
    p, step = np.array([0.9, 0.5, 0.1, 0.01]), 1e-7
    for gamma, expected in ((1.0, np.ones(4)), (0.0, 1 / p)):
        slope = (gamma_ce(p - step, gamma) - gamma_ce(p + step, gamma)) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-6)
    ratio = gamma_ce(p, 0.0) / gamma_ce(p, 1.0)
    np.testing.assert_allclose(ratio, [1.05, 1.39, 2.56, 4.65], atol=6e-3)
