"""Cross-entropy through a noise matrix: exact, and the matched gamma's if symmetric."""

import mpmath as mp
import numpy as np
import pytest
from scipy import optimize
from scipy.special import softmax

from keras_calib import GammaCE
from keras_calib.losses import ForwardCorrectedCE, noise_floor, noise_matched_gamma
from tests.backends import needs_float64
from tests.losses import exact
from tests.losses.table import TRANSITION
from tests.losses.tools import per_sample, value_and_gradient

KWARGS = {"from_logits": True, "dtype": "float64"}


def symmetric(eta, k):
    return (1 - eta) * np.eye(k) + eta / k


@needs_float64
@pytest.mark.parametrize(("eta", "k"), [(0.4, 3), (0.0, 5), (1e-9, 4), (0.9, 10)])
def test_symmetric_noise_is_the_matched_gamma(eta, k):
    """Value and gradient, up to the factor and the constant."""
    gamma = noise_matched_gamma(eta, k)
    rng = np.random.default_rng(k)
    z, y = 10 * rng.normal(size=(200, k)), rng.integers(0, k, 200)
    forward = ForwardCorrectedCE(symmetric(eta, k), reduction=None, **KWARGS)
    found = value_and_gradient(forward, y, z, "float64")
    expected = value_and_gradient(
        GammaCE(gamma, reduction=None, **KWARGS), y, z, "float64"
    )
    constant = np.log1p((k - 1) * gamma)
    np.testing.assert_allclose(
        found[0], (1 - gamma) * expected[0] + constant, rtol=1e-12, atol=1e-15
    )
    np.testing.assert_allclose(
        found[1], (1 - gamma) * expected[1], rtol=1e-11, atol=1e-300
    )


def matrix(kind, k):
    """Returns a transition of which float32 holds each entry exactly."""
    if kind == "none":
        return np.eye(k)
    if kind == "symmetric":
        t = np.full((k, k), 2.0**-12)
    else:  # each class gives a quarter to the next, the last keeps its own
        t = 0.25 * np.roll(np.eye(k), 1, axis=-1)
        t[-1] = 0.0
    np.fill_diagonal(t, 0.0)
    return t + np.diag(1 - t.sum(-1))


@pytest.mark.parametrize("kind", ["none", "symmetric", "next"])
@pytest.mark.parametrize("k", [2, 10])
def test_exact(kind, k):
    """Values and gradients by mpmath, for margins from -1e4 to 1e4."""
    case, t = exact.case(k), matrix(kind, k)
    values, gradients = [], []
    for row, y in zip(case.logits, case.labels, strict=True):
        e = [mp.exp(mp.mpf(z)) for z in row]
        joint = [x * mp.mpf(t[i, y]) for i, x in enumerate(e)]
        rest = mp.fsum(x * mp.mpf(1 - t[i, y]) for i, x in enumerate(e)) / mp.fsum(e)
        values.append(float(exact.minus_log(mp.fsum(joint) / mp.fsum(e), rest)))
        p, posterior = ([x / mp.fsum(part) for x in part] for part in (e, joint))
        gradients.append([float(a - b) for a, b in zip(p, posterior, strict=True)])
    gradients = np.array(gradients)
    largest = np.abs(gradients).max(-1, keepdims=True)
    for dtype, (of_value, of_gradient, tiny) in exact.TOLERANCE.items():
        loss = ForwardCorrectedCE(t, from_logits=True, reduction=None, dtype=dtype)
        found = value_and_gradient(loss, case.labels, case.logits, dtype)
        np.testing.assert_allclose(found[0], values, rtol=of_value, atol=k * tiny)
        error = np.abs(found[1] - gradients)
        assert (error <= of_gradient * largest + 1e-12 + k * tiny).all(), dtype


@needs_float64
def test_the_right_matrix_recovers_the_clean_posterior():
    t, clean = np.array(TRANSITION), np.array([0.1, 0.5, 0.2, 0.05, 0.15])
    loss = ForwardCorrectedCE(t, **KWARGS)
    target = (clean @ t)[None]
    found = optimize.minimize(
        lambda z: [
            x.ravel() for x in value_and_gradient(loss, target, z[None], "float64")
        ],
        np.zeros(5),
        jac=True,
        options={"gtol": 1e-9},
    )
    np.testing.assert_allclose(softmax(found.x), clean, atol=1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
def test_by_its_definition(from_logits):
    rng = np.random.default_rng(0)
    z, y = 3 * rng.normal(size=(60, 5)), rng.integers(0, 5, 60)
    p = softmax(z, -1)
    loss = ForwardCorrectedCE(TRANSITION, from_logits=from_logits, dtype="float64")
    expected = -np.log((p @ np.array(TRANSITION))[np.arange(60), y])
    found = per_sample(loss, y, z if from_logits else p)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_masked_class():
    """As if it were not there; a label that only it gets has an infinite loss."""
    z = np.array([[1.0, 2.0, -np.inf]])
    t = [[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.0, 0.5, 0.5]]
    loss = ForwardCorrectedCE(t, from_logits=True, reduction=None)
    small = ForwardCorrectedCE([[0.8, 0.2], [0.1, 0.9]], from_logits=True)
    value, gradient = value_and_gradient(loss, [1], z, "float32")
    assert value[0] == pytest.approx(float(small([1], z[:, :2])), rel=1e-6)
    assert np.isfinite(gradient).all() and gradient[0, 2] == 0
    assert per_sample(loss, [2], z) == [np.inf]


def test_the_floor_is_the_lowest_loss():
    """With equal frequencies, and with others."""
    t = np.array(TRANSITION)
    y = np.repeat(np.arange(5), 5)
    labels = np.tile(np.arange(5), 5)
    sure = np.eye(5)[y]
    loss = ForwardCorrectedCE(t, reduction="sum")
    found = float(loss(labels, sure, sample_weight=t.ravel() / 5))
    assert noise_floor(t) == pytest.approx(found, rel=1e-6)
    assert noise_floor(t, [1, 0, 0, 0, 0]) == 0
    counts = [0.0, 1.0, 0.0, 0.0, 1.0]
    entropies = -0.3 * np.log(0.3) - 0.7 * np.log(0.7), -np.log(0.8) * 0.8
    expected = (sum(entropies) - 0.2 * np.log(0.2)) / 2
    for scale in (1.0, 0.2, 300.0):  # the numbers of samples have the same shares
        weights = scale * np.array(counts)
        assert noise_floor(t, weights) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("transition", "match"),
    [
        ([[0.5, 0.5]], r"must have shape \(K, K\).*Received: shape \(1, 2\)"),
        ([[1.0]], r"must have shape \(K, K\)"),
        ([[0.9, 0.2], [0.1, 0.8]], "transposed. Received: rows with the sums"),
        ([[1.5, -0.5], [0.0, 1.0]], "smallest entry -0.5"),
        ([[np.nan, 1.0], [0.0, 1.0]], "at least 0 and with the sum 1"),
        ([[1.0, 0.0], [1.0, 0.0]], "zeros only in column 1"),
        ("symmetric", "`transition`"),
    ],
)
def test_bad_matrices(transition, match):
    for function in (ForwardCorrectedCE, noise_floor):
        with pytest.raises(ValueError, match=match):
            function(transition)


def test_another_number_of_classes():
    with pytest.raises(ValueError, match="of 2 classes. Received: predictions of 3"):
        ForwardCorrectedCE(np.eye(2))([0], [[0.2, 0.3, 0.5]])
    with pytest.raises(ValueError, match="`priors` must be 2 numbers"):
        noise_floor(np.eye(2), [1.0])
    with pytest.raises(ValueError, match=r"`priors\[0\]` .*Received: -1"):
        noise_floor(np.eye(2), [-1, 1])


@pytest.mark.parametrize("priors", [[0, 0], [0.5, np.nan], [1, np.inf], [0.5] * 3])
def test_bad_priors(priors):
    with pytest.raises(ValueError, match="`priors"):
        noise_floor(np.eye(2), priors)
