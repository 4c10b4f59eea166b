"""EXACT by quadrature, and the smooth accuracy."""

import keras
import numpy as np
import pytest
from scipy import integrate, stats

from keras_calib import ExpectedAccuracyLoss
from keras_calib.callbacks import HyperparameterScheduler, exponential
from tests.backends import BACKEND
from tests.losses.tools import per_sample, value_and_gradient

MU = np.array([[1.0, 0.2, -0.5]])


def exact(sigma=1.0, margin=None, dtype="float64", **kwargs):
    return ExpectedAccuracyLoss(
        "gaussian", sigma, margin, from_logits=True, dtype=dtype, **kwargs
    )


def log_p_of_leads(delta, **kwargs):
    """log P for leads z_y - z_j, y = 0."""
    z = np.concatenate([[0.0], -np.asarray(delta, "float64")])[None]
    return -per_sample(exact(log=True, **kwargs), [0], z)[0]


def trapezoid(delta):
    """log E prod_j Phi(delta_j + e) and its slopes, by 1200 points of the integrand."""
    e = np.linspace(-12, 28, 1201)
    logs = stats.norm.logcdf(delta[:, None] + e).sum(0) + stats.norm.logpdf(e)
    top = logs.max()
    f = np.exp(logs - top)
    slopes = np.exp(
        stats.norm.logpdf(delta[:, None] + e) - stats.norm.logcdf(delta[:, None] + e)
    )
    total = integrate.trapezoid(f, e)
    log_p = top + np.log(total)
    return log_p, integrate.trapezoid(f * slopes, e, axis=1) / total


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
    p = 1 - per_sample(exact(nodes=64), [0], np.zeros((1, k)))[0]
    assert p == pytest.approx(1 / k, rel=1e-7)


@pytest.mark.parametrize(
    ("k", "nodes", "of_p", "of_gradient"),
    [
        (10, 16, 1e-6, 1e-6),
        (10, 32, 2e-9, 5e-9),
        (100, 16, 7e-6, 1e-5),
        (1000, 16, 2e-4, 1.5e-4),
        (1000, 32, 7e-6, 6e-6),
    ],
)
def test_error_of_the_quadrature(k, nodes, of_p, of_gradient):
    """The table of errors that the documentation gives."""
    rng = np.random.default_rng(k)
    count = 40 if k < 1000 else 8
    scales = np.exp(rng.uniform(np.log(0.3), np.log(8.0), count))
    delta = scales[:, None] * rng.normal(size=(count, k - 1))
    z = np.concatenate([np.zeros((count, 1)), -delta], axis=1)
    loss = exact(log=True, nodes=nodes, reduction=None)
    value, gradient = value_and_gradient(loss, np.zeros(count), z, "float64")
    for i in range(count):
        log_p, slopes = trapezoid(delta[i])
        assert abs(np.exp(-value[i]) - np.exp(log_p)) <= of_p
        got = np.exp(-value[i]) * gradient[i, 1:]
        assert np.abs(got - np.exp(log_p) * slopes).max() <= of_gradient


def test_float32_keeps_seven_digits_of_p():
    z = np.random.default_rng(0).normal(0, 3, (200, 10))
    y = np.arange(200) % 10
    wide, narrow = (per_sample(exact(dtype=d), y, z) for d in ("float64", "float32"))
    assert np.abs(wide - narrow).max() <= 5e-7


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
    loss = ExpectedAccuracyLoss(log=log, from_logits=True, reduction=None)
    value, gradient = value_and_gradient(loss, labels, z, "float64")
    fewer = np.delete(z, 2, -1)
    expected, slope = value_and_gradient(loss, np.array([1, 0]), fewer, "float64")
    np.testing.assert_allclose(value, expected, atol=2e-6)
    np.testing.assert_allclose(np.delete(gradient, 2, -1), slope, atol=2e-5)
    assert not gradient[:, 2].any()
