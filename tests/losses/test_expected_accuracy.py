"""EXACT by quadrature, and the smooth accuracy."""

from itertools import pairwise

import keras
import numpy as np
import pytest
from scipy import integrate, stats

from keras_calib import ExpectedAccuracyLoss
from keras_calib.callbacks import HyperparameterScheduler, exponential
from tests.backends import BACKEND, slow_on_jax
from tests.losses.tools import per_sample, second_derivatives, value_and_gradient

MU = np.array([[1.0, 0.2, -0.5]])


def exact(sigma=1.0, margin=None, dtype="float64", **kwargs):
    return ExpectedAccuracyLoss(
        "gaussian", sigma, margin, from_logits=True, dtype=dtype, **kwargs
    )


def log_p_of_leads(delta, **kwargs):
    """log P for leads z_y - z_j, y = 0."""
    z = np.concatenate([[0.0], -np.asarray(delta, "float64")])[None]
    return -per_sample(exact(log=True, **kwargs), [0], z)[0]


# Leads z_y - z_j: the true class is far behind, tied, about to win, or far ahead.
LEADS = (-20, -10, -5, -2, 0, 1.5, 2.5, 3, 3.5, 4, 4.5, 5.5, 8, 20)


def grid(k):
    """Two leads, and how many classes have each: one, two or half of them the first."""
    first, second = (x.ravel() for x in np.meshgrid(LEADS, LEADS))
    ones = np.ones(len(first), int)
    counts = np.concatenate([i * ones for i in sorted({1, 2, k // 2})])
    leads = np.tile(np.stack([first, second], -1), (len(counts) // len(first), 1))
    return leads, np.stack([counts, k - 1 - counts], -1)


def truth(leads, counts):
    """log P and its slope for each lead, by 1501 points of the integrand."""
    e = np.linspace(-16, 34, 1501)
    x = leads[:, :, None] + e
    log_phi = stats.norm.logcdf(x)
    logs = (counts[:, :, None] * log_phi).sum(1) + stats.norm.logpdf(e)
    top = logs.max(-1)
    f = np.exp(logs - top[:, None])
    total = integrate.trapezoid(f, e)
    slopes = np.exp(stats.norm.logpdf(x) - log_phi)
    means = integrate.trapezoid(f[:, None] * slopes, e) / total[:, None]
    return top + np.log(total), means


def of_grid(k, dtype, **kwargs):
    """The loss and its gradient on the grid, and both as they should be."""
    leads, counts = grid(k)
    log_p, slopes = truth(leads, counts)
    repeated = [np.repeat(*row) for row in zip(-leads, counts, strict=True)]
    z = np.concatenate([np.zeros((len(leads), 1)), repeated], -1)
    loss = exact(dtype=dtype, reduction=None, **kwargs)
    chunks = np.array_split(z, 1 + z.size // 300_000)
    pairs = [value_and_gradient(loss, np.zeros(len(c)), c, dtype) for c in chunks]
    value, gradient = (np.concatenate(x) for x in zip(*pairs, strict=True))
    slopes = [np.repeat(*row) for row in zip(slopes, counts, strict=True)]
    total = np.sum(slopes, -1, keepdims=True)
    return value, gradient, log_p, np.concatenate([-total, slopes], -1)


# Section 15 of the specification.


@pytest.mark.parametrize("nodes", [32, 64])
def test_reference_probabilities(nodes):
    z = np.repeat(MU, 3, axis=0)
    expected = [0.6559544448672686, 0.2534750914530837, 0.0905704636796479]
    got = 1 - per_sample(exact(nodes=nodes), [0, 1, 2], z)
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-15)
    got = 1 - per_sample(exact(0.5, nodes=64), [0], MU)
    assert got[0] == pytest.approx(0.8634017023750574, abs=1e-14)


def test_reference_gradient():
    _, gradient = value_and_gradient(exact(nodes=64), [0], MU, "float64")
    expected = [0.27900477, -0.19602130, -0.08298347]
    np.testing.assert_allclose(-gradient[0], expected, atol=6e-9)


@pytest.mark.parametrize(
    ("delta", "expected", "tolerance"),
    [
        ([0.3, -1.2, 2.0, 0.5], -1.88860933027749415, 1e-15),
        ([3.0] * 9, -0.10259940021402919, 1e-12),
        ([3.0] * 999, -0.8877101264284429, 1e-8),
        ([-6.0] + [2.0] * 998, -11.423445761353426, 1e-8),
        ([-300.0, -305.0], -30519.9469381818, 1e-13),
        ([-1e4, 1e4], -25000009.7827053, 1e-13),
        ([1.0], np.log(0.7602499389065233), 1e-15),
    ],
)
def test_reference_log_probabilities(delta, expected, tolerance):
    assert log_p_of_leads(delta, nodes=64) == pytest.approx(expected, rel=tolerance)


def test_two_classes_have_unit_noise_each():
    """Phi(1 / sqrt 2), not Phi(1) = .8413, nor softmax .7311."""
    p = 1 - per_sample(exact(), [0], np.array([[1.0, 0.0]]))[0]
    assert p == pytest.approx(0.7602499389065233, abs=1e-15)
    z = np.array([[1.0, 0.0, -1e3]])  # the third class is out of the race
    assert 1 - per_sample(exact(nodes=64), [0], z)[0] == pytest.approx(p, abs=1e-13)


@pytest.mark.parametrize("k", [2, 3, 10, 100, 1000])
def test_ties(k):
    p = 1 - per_sample(exact(), [0], np.zeros((1, k)))[0]
    assert p == pytest.approx(1 / k, abs=1e-8)


def test_the_reference_of_the_grid():
    """It is right to 1e-14, by adaptive quadrature between points about the cliff."""
    leads, counts = (x[::25] for x in grid(1000))
    values, _ = truth(leads, counts)
    for lead, count, value in zip(leads, counts, values, strict=True):

        def integrand(e, lead=lead, count=count, value=value):
            logs = (count * stats.norm.logcdf(lead + e)).sum()
            return np.exp(logs + stats.norm.logpdf(e) - value)

        pieces = np.linspace(-16, 34, 26)
        each = [
            integrate.quad(integrand, *p, epsabs=1e-15)[0] for p in pairwise(pieces)
        ]
        assert sum(each) == pytest.approx(1.0, rel=1e-13)


@pytest.mark.parametrize(
    ("k", "nodes", "of_p", "of_gradient"),
    [
        (10, 32, 1e-14, 1e-13),
        *(
            pytest.param(k, None, 1e-7, 1e-6, marks=slow_on_jax)
            for k in (3, 5, 10, 30, 100, 300, 1000)
        ),
        pytest.param(300, 32, 1e-10, 1e-9, marks=slow_on_jax),
    ],
)
def test_error_of_the_quadrature(k, nodes, of_p, of_gradient):
    """The errors that the documentation gives, at leads of -20 to 20."""
    value, gradient, log_p, slopes = of_grid(k, "float64", nodes=nodes)
    p = np.exp(log_p)
    assert np.abs(1 - value - p).max() <= of_p
    assert np.abs(gradient - p[:, None] * slopes).max() <= of_gradient


@pytest.mark.parametrize("k", [10, 1000])
def test_error_of_float32(k):
    value, gradient, log_p, slopes = of_grid(k, "float32")
    p = np.exp(log_p)
    assert np.abs(1 - value - p).max() <= 6e-7
    assert np.abs(gradient - p[:, None] * slopes).max() <= 1e-6


@pytest.mark.parametrize("k", [10, pytest.param(1000, marks=slow_on_jax)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-7), ("float32", 1e-6)])
def test_relative_error_of_the_logarithm(dtype, tolerance, k):
    """-log P keeps its digits where P underflows."""
    value, gradient, log_p, slopes = of_grid(k, dtype, log=True)
    np.testing.assert_allclose(-value, log_p, rtol=tolerance, atol=tolerance)
    of_y = -slopes[:, :1]
    assert (np.abs(gradient - slopes) <= 10 * tolerance * np.maximum(of_y, 1.0)).all()


def test_one_large_logit():
    """1 - P at [3, 0 x 9], and of a class that is not the largest."""
    z = np.array([[3.0] + [0.0] * 9] * 2)
    got = per_sample(exact(), [0, 1], z)
    np.testing.assert_allclose(got, [0.0975115622492, 0.9891653819723], atol=1e-7)


@pytest.mark.parametrize("log", [False, True])
def test_second_derivatives_at_large_margins(log):
    z = np.array(
        [[1e4, 0.0, -1e4, 30.0], [-1e4, -1e4, 1e4, 1e4], [0.0, -300.0, 0.0, 1.0]]
    )
    second = second_derivatives(exact(log=log), [0, 1, 2], z)
    assert np.isfinite(second).all()


@pytest.mark.parametrize("k", [2, 3, 1000])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("sigma", [0.01, 1.0, 100.0])
def test_finite_at_extreme_logits(sigma, log, k):
    z = np.random.default_rng(0).choice([-1e4, -300.0, 0.0, 30.0, 1e4], (20, k))
    loss = exact(sigma, log=log, dtype="float32", reduction=None)
    value, gradient = value_and_gradient(loss, np.arange(20) % k, z, "float32")
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    assert (value >= 0).all()


def test_margin_caps_a_lead():
    """min(z_y - z_j, r): a class behind by more than the margin is not pushed."""
    z = np.array([[1.0, 0.8, -5.0]])
    value, gradient = value_and_gradient(exact(margin=2.0), [0], z, "float64")
    capped = per_sample(exact(), [0], np.array([[1.0, 0.8, -1.0]]))
    assert value == pytest.approx(capped[0], rel=1e-13)
    assert gradient[0, 2] == 0.0
    assert gradient[0].sum() == pytest.approx(0.0, abs=1e-16)


# The smooth accuracy.


def test_gumbel_is_the_softmax():
    z = np.random.default_rng(0).normal(0, 3, (30, 5))
    y = np.arange(30) % 5
    for sigma in (0.5, 1.0, 4.0):
        e = np.exp(z / sigma)
        p = (e / e.sum(-1, keepdims=True))[np.arange(30), y]
        kwargs = {"from_logits": True, "dtype": "float64"}
        loss = ExpectedAccuracyLoss("gumbel", sigma, **kwargs)
        np.testing.assert_allclose(per_sample(loss, y, z), 1 - p, rtol=1e-12)
        loss = ExpectedAccuracyLoss("gumbel", sigma, log=True, **kwargs)
        np.testing.assert_allclose(per_sample(loss, y, z), -np.log(p), rtol=1e-12)


def test_gumbel_of_probabilities():
    loss = ExpectedAccuracyLoss("gumbel", dtype="float64")
    value, gradient = value_and_gradient(loss, [0], [[0.3, 0.7]], "float64")
    assert value == pytest.approx(0.7)
    np.testing.assert_array_equal(gradient, [[-1.0, 0.0]])


# Sigma on a schedule.


@pytest.mark.parametrize("noise", ["gaussian", "gumbel"])
def test_sigma_moves_with_no_retrace(noise):
    traces = []

    class Counted(ExpectedAccuracyLoss):
        def call(self, y_true, y_pred):
            traces.append(1)
            return super().call(y_true, y_pred)

    loss = Counted(noise, 10.0, from_logits=True)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", loss, metrics=[loss.sigma])
    x = np.random.default_rng(0).normal(size=(32, 3))
    scheduler = HyperparameterScheduler("sigma", exponential(10.0, 0.01))
    history = model.fit(
        x, np.arange(32) % 3, epochs=4, callbacks=[scheduler], verbose=0
    )
    np.testing.assert_allclose(history.history["sigma"], [10, 1, 0.1, 0.01], rtol=1e-6)
    assert len(set(history.history["loss"])) == 4
    if BACKEND != "torch":  # which runs each step anew
        assert len(traces) <= 2  # one to build, one trace


# What is refused.


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({}, "Gaussian noise and a margin need logits"),
        ({"noise": "gumbel", "margin": 1.0}, "Gaussian noise and a margin need logits"),
        ({"noise": "gumbel", "sigma": 2.0}, r"`sigma` must be .*\[1, 1\]. Received: 2"),
        ({"noise": "laplace"}, "one of 'gaussian', 'gumbel'. Received: 'laplace'"),
        ({"sigma": 0.0, "from_logits": True}, r"`sigma` .*Received: 0.0"),
        ({"margin": -1.0, "from_logits": True}, r"`margin` .*Received: -1.0"),
        ({"nodes": 1, "from_logits": True}, "`nodes` must be .*>= 2. Received: 1"),
        ({"nodes": 2.5, "from_logits": True}, "`nodes` must be .*>= 2. Received: 2.5"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        ExpectedAccuracyLoss(**kwargs)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_a_logit_of_minus_infinity_is_no_competitor(soft, log):
    z, y = np.array([[0.5, 1.0, -np.inf, 0.0], [2.0, 0.0, -np.inf, 1.0]]), [1, 0]
    labels = np.eye(4)[y] if soft else np.array(y)
    loss = exact(log=log, reduction=None)
    value, gradient = value_and_gradient(loss, labels, z, "float64")
    fewer = np.delete(z, 2, -1)
    expected, slope = value_and_gradient(loss, np.array([1, 0]), fewer, "float64")
    np.testing.assert_allclose(value, expected, atol=1e-7)
    np.testing.assert_allclose(np.delete(gradient, 2, -1), slope, atol=1e-7)
    assert not gradient[:, 2].any()


def test_two_classes_of_which_one_is_masked():
    z, y = np.array([[1.0, -np.inf], [-np.inf, 2.0], [0.3, 0.1]]), np.array([0, 1, 0])
    value, gradient = value_and_gradient(exact(reduction=None), y, z, "float64")
    assert not value[:2].any()
    assert not gradient[:2].any()
    found = second_derivatives(exact(reduction="sum"), y, z)
    assert not found[:2].any()
    assert np.isfinite(found).all()
