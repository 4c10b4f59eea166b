"""Gamma-cross-entropy: exact values and gradients, its properties, its arguments."""

import inspect

import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from keras_calib import GammaBCE, GammaCE
from tests.backends import not_on_jax
from tests.losses import exact
from tests.losses.tools import per_sample, second_derivatives, value_and_gradient

GAMMAS = [0, 1e-12, 1e-7, 0.01, 0.1, 0.5, 0.9, 1 - 1e-7, 1]
FLOORS = [0.0, 0.3, 1.0]
V4 = np.array([[1.0, 2.0, 0.5, -1.0]])


def gamma_ce(p, q, gamma, floor=0.0):
    """Returns the loss of gamma-cross-entropy and its weight, with mpmath."""
    gamma, floor = exact.mp.mpf(gamma), exact.mp.mpf(floor)

    def loss(p, q):
        if gamma == 1:
            return q
        if p < 0.5:
            return -exact.mp.log(gamma + (1 - gamma) * p) / (1 - gamma)
        return -exact.mp.log1p(-(1 - gamma) * q) / (1 - gamma)

    weight = p / (gamma + (1 - gamma) * p)
    if weight >= floor:
        return loss(p, q), weight
    knee = floor * gamma / (1 - floor * (1 - gamma))
    return loss(knee, 1 - knee) - floor * exact.mp.log(p / knee), floor


@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_value_and_gradient_are_exact(gamma, floor):
    exact.check(GammaCE(gamma, floor=floor), lambda p, q: gamma_ce(p, q, gamma, floor))


@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_stop_gradient_is_exact(gamma, floor):
    def reference(p, q):
        _, weight = gamma_ce(p, q, gamma, floor)
        return weight * exact.minus_log(p, q), weight

    # w is that of p, and p is no smaller than the smallest normal number.
    lost = 1e4 / gamma if gamma else 1.0
    loss = GammaCE(gamma, floor=floor, formulation="stop_gradient")
    exact.check(loss, reference, lost)


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        (0.0, 1.495181898085856),
        (1e-7, 1.495181701589309),
        (0.1, 1.331148542626973),
        (0.5, 0.981706449789456),
        (0.8, 0.843030839459279),
        (1.0, 0.775792181951799),
    ],
)
def test_reference_values(gamma, expected):
    loss = GammaCE(gamma, from_logits=True, dtype="float64")
    assert float(loss([0], V4)) == pytest.approx(expected, abs=1e-15)


def test_reference_gradient():
    loss = GammaCE(0.1, from_logits=True, dtype="float64")
    _, gradient = value_and_gradient(loss, [0], V4, "float64")
    expected = [-0.57636231, 0.45278852, 0.10103077, 0.02254301]
    np.testing.assert_allclose(gradient[0], expected, atol=5e-9)


@pytest.mark.parametrize(
    ("p", "expected"), [(0.3, 1.104724748159852), (0.0, 2.558427881104495)]
)
def test_reference_values_of_probabilities(p, expected):
    loss = GammaCE(0.1, dtype="float64")
    assert float(loss([0], np.array([[p, 1 - p]]))) == pytest.approx(
        expected, abs=2e-15
    )


@pytest.mark.parametrize(
    ("p", "expected"), [(0.01, 2.6327461857793937), (0.2, 1.4144063064587638)]
)
def test_reference_values_with_a_floor(p, expected):
    loss = GammaCE(0.1, floor=0.3, dtype="float64")
    assert float(loss([0], np.array([[p, 1 - p]]))) == pytest.approx(
        expected, abs=1e-15
    )


@pytest.mark.parametrize(
    ("p", "expected"), [(1e-6, 1.4e-4), (0.1, 1.2119), (0.9, 0.1042)]
)
def test_stop_gradient_value_is_the_papers(p, expected):
    loss = GammaCE(0.1, formulation="stop_gradient", dtype="float64")
    assert float(loss([0], np.array([[p, 1 - p]]))) == pytest.approx(expected, rel=2e-2)


def test_mixup_reference():
    loss = GammaCE(0.1, from_logits=True, dtype="float64")
    mixed = np.array([[0.7, 0.3, 0.0, 0.0]])
    assert float(loss(mixed, V4)) == pytest.approx(1.076161191505128, abs=1e-15)


def test_label_smoothing_is_the_official_codes():
    """(1 - e) l + e mean(-log p), the smooth term unweighted."""
    smooth, sharp = (
        GammaCE(0.1, label_smoothing=e, from_logits=True, dtype="float64")
        for e in (0.1, 0.0)
    )
    log_p = np.log(np.exp(V4) / np.exp(V4).sum())
    expected = 0.9 * float(sharp([0], V4)) - 0.1 * log_p.mean()
    assert float(smooth([0], V4)) == pytest.approx(expected, abs=1e-15)
    p = np.exp(log_p)
    _, gradient = value_and_gradient(smooth, [0], V4, "float64")
    _, without = value_and_gradient(sharp, [0], V4, "float64")
    np.testing.assert_allclose(gradient, 0.9 * without + 0.1 * (p - 0.25), atol=1e-15)


@pytest.mark.parametrize("gamma", [0.01, 0.1, 0.5, 1.0])
def test_gradient_bound_is_reached(gamma):
    """max w (1 - p) = 1 / (1 + sqrt(gamma))^2, at a log-odds of log(gamma) / 2."""
    loss = GammaCE(gamma, from_logits=True, reduction=None, dtype="float64")
    margins = 0.5 * np.log(gamma) + np.linspace(-3, 3, 601)
    z = np.stack([margins, np.zeros_like(margins)], axis=-1)
    _, gradient = value_and_gradient(loss, np.zeros(601, int), z, "float64")
    bound = 1 / (1 + np.sqrt(gamma)) ** 2
    assert np.abs(gradient[:, 0]).max() == pytest.approx(bound, abs=1e-15)
    assert np.abs(gradient[:, 0]).argmax() == 300


def test_noise_matched_gamma_recovers_the_clean_posterior():
    """K = 10, 40 % of labels redrawn, a clean top of .8: the minimum is at .8."""
    noise, k, top = 0.4, 10, 0.8
    clean = np.full(k, (1 - top) / (k - 1))
    clean[0] = top
    noisy = (1 - noise) * clean + noise / k
    gamma = noise / (k - (k - 1) * noise)
    loss = GammaCE(gamma, from_logits=True, dtype="float64")
    _, gradient = value_and_gradient(loss, noisy[None], np.log(clean)[None], "float64")
    np.testing.assert_allclose(gradient, 0, atol=1e-15)


@settings(deadline=None, max_examples=60)
@given(
    logits=st.lists(st.floats(-50, 50), min_size=2, max_size=6),
    gamma=st.floats(1e-6, 1),
    more=st.floats(1e-3, 1),
    shift=st.floats(-50, 50),
)
def test_properties(logits, gamma, more, shift):
    z = np.array([logits])
    value = {
        g: per_sample(GammaCE(g, from_logits=True, dtype="float64"), [0], z)[0]
        for g in (0.0, gamma, min(1.0, gamma + more), 1.0)
    }
    close = 1e-12 * (1 + value[0.0])
    assert value[1.0] - close <= value[gamma] <= value[0.0] + close
    assert value[min(1.0, gamma + more)] <= value[gamma] + close
    moved = per_sample(
        GammaCE(gamma, from_logits=True, dtype="float64"), [0], z + shift
    )
    assert moved[0] == pytest.approx(value[gamma], rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
def test_zero_where_the_model_is_right_with_certainty(gamma):
    assert float(GammaCE(gamma, from_logits=True)([0], [[1e4, 0.0]])) == 0.0
    assert float(GammaCE(gamma)([0], [[1.0, 0.0]])) == 0.0


@pytest.mark.parametrize("gamma", [0.0, 1e-7, 0.1, 1.0])
def test_a_probability_of_zero_is_finite(gamma):
    loss = GammaCE(gamma)
    value, gradient = value_and_gradient(loss, [0], [[0.0, 1.0]], "float32")
    assert np.isfinite(value) and np.isfinite(gradient).all()
    if gamma == 0.0:
        assert float(value) == pytest.approx(-np.log(np.finfo("float32").tiny))


@not_on_jax
def test_a_keras_softmax_keeps_the_gradient_of_hard_samples():
    """Its probability underflows; its logits, which Keras keeps on it, do not."""

    def of_softmax(y, z):
        return GammaCE(0.0)(y, keras.activations.softmax(z))

    value, gradient = value_and_gradient(of_softmax, [0], [[-200.0, 200.0]], "float32")
    assert float(value) == 400.0
    np.testing.assert_array_equal(gradient, [[-1.0, 1.0]])


@pytest.mark.parametrize("soft", [False, True])
def test_second_derivatives(soft):
    """H = w (diag p - p p^T) - gamma p_y / u^2 (e - p)(e - p)^T."""
    gamma = 0.1
    loss = GammaCE(gamma, from_logits=True, dtype="float64")
    y = np.eye(4)[:1] if soft else np.array([0])
    hessian = second_derivatives(loss, y, V4)[0]
    p = np.exp(V4[0]) / np.exp(V4[0]).sum()
    u = gamma + (1 - gamma) * p[0]
    d = np.eye(4)[0] - p
    expected = p[0] / u * (np.diag(p) - np.outer(p, p))
    expected -= gamma * p[0] / u**2 * np.outer(d, d)
    np.testing.assert_allclose(hessian, expected, atol=1e-14)


# Multi-label.


def test_bce_reference():
    z, y = np.array([[1.5, -0.5, 0.2]]), np.array([[1.0, 0.0, 1.0]])
    for reduction, expected in (("sum", 1.0), ("mean", 1 / 3)):
        loss = GammaBCE(
            0.1, label_reduction=reduction, from_logits=True, dtype="float64"
        )
        assert float(loss(y, z)) == pytest.approx(
            1.237758580508088 * expected, abs=1e-15
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("floor", FLOORS)
def test_bce_is_exact(dtype, floor):
    """A label of logit s is a class of two, with a margin of s."""
    case = exact.case(2)
    of_value, of_gradient, tiny = exact.TOLERANCE[dtype]
    margins = np.array(exact.MARGINS)
    for gamma in GAMMAS:
        loss = GammaBCE(
            gamma, floor=floor, from_logits=True, reduction=None, dtype=dtype
        )
        held = float(np.asarray(gamma, dtype))
        exactly = [
            gamma_ce(p, q, held, floor) for p, q in zip(case.p, case.q, strict=True)
        ]
        value = [float(v) for v, _ in exactly]
        slope = [float(w * q) for (_, w), q in zip(exactly, case.q, strict=True)]
        for y, sign in ((1.0, 1.0), (0.0, -1.0)):
            got, gradient = value_and_gradient(
                loss, np.full((len(margins), 1), y), sign * margins[:, None], dtype
            )
            np.testing.assert_allclose(got, value, rtol=of_value, atol=tiny)
            np.testing.assert_allclose(
                -sign * gradient[:, 0], slope, rtol=of_gradient, atol=1e-12
            )


def test_bce_of_probabilities_is_that_of_logits():
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 3, (20, 4)), rng.random((20, 4))
    y[:10] = y[:10] > 0.5
    kwargs = {"dtype": "float64", "floor": 0.2}
    np.testing.assert_allclose(
        per_sample(GammaBCE(0.1, **kwargs), y, 1 / (1 + np.exp(-z))),
        per_sample(GammaBCE(0.1, from_logits=True, **kwargs), y, z),
        rtol=1e-12,
    )


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_bce_of_a_probability_of_zero_is_finite(y, p):
    value, gradient = value_and_gradient(GammaBCE(0.0), [[y]], [[p]], "float32")
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_bce_label_smoothing_leaves_the_uniform_term_unweighted():
    """(1 - e) l + e/2 (-log p - log(1 - p)), against float64 numpy."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 3, (20, 4)), rng.random((20, 4)).round()
    smooth, sharp = (
        GammaBCE(0.1, label_smoothing=e, from_logits=True, dtype="float64")
        for e in (0.2, 0.0)
    )
    uniform = (np.logaddexp(0, z) + np.logaddexp(0, -z)) / 2
    expected = 0.8 * per_sample(sharp, y, z) + 0.2 * uniform.mean(-1)
    np.testing.assert_allclose(per_sample(smooth, y, z), expected, rtol=1e-13)
    _, gradient = value_and_gradient(smooth, y, z, "float64")
    _, without = value_and_gradient(sharp, y, z, "float64")
    of_uniform = (1 / (1 + np.exp(-z)) - 0.5) / z.size
    np.testing.assert_allclose(gradient, 0.8 * without + 0.2 * of_uniform, atol=1e-16)


# What is refused.


@pytest.mark.parametrize("loss", [GammaCE, GammaBCE])
def test_gamma_must_be_given(loss):
    with pytest.raises(ValueError, match="`gamma` must be given: start with 0.1"):
        loss()
    with pytest.raises(ValueError, match="start with 0.1"):
        keras.losses.get(loss)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="start with 0.1"):
        model.compile("sgd", loss=loss)
        model.fit(np.zeros((4, 2)), np.zeros((4, 2)), verbose=0)
    assert (
        inspect.signature(loss).parameters["gamma"].default is inspect.Parameter.empty
    )


@pytest.mark.parametrize("loss", [GammaCE, GammaBCE])
@pytest.mark.parametrize(
    ("kwargs", "allowed"),
    [
        ({"gamma": -0.1}, r"`gamma` must be a number in \[0, 1\]. Received: -0.1"),
        ({"gamma": 1.5}, r"`gamma` .*Received: 1.5"),
        ({"gamma": float("nan")}, "`gamma` .*Received: nan"),
        ({"gamma": "large"}, "`gamma` .*Received: 'large'"),
        ({"floor": 1.1}, r"`floor` must be a number in \[0, 1\]. Received: 1.1"),
        ({"formulation": "open"}, "one of 'closed', 'stop_gradient'. Received: 'open'"),
    ],
)
def test_bad_arguments(loss, kwargs, allowed):
    with pytest.raises(ValueError, match=allowed):
        loss(**{"gamma": 0.1, **kwargs})


def test_more_bad_arguments():
    with pytest.raises(ValueError, match="label_smoothing.*Received: 2"):
        GammaCE(0.1, label_smoothing=2)
    with pytest.raises(ValueError, match="'mean', 'sum'. Received: 'max'"):
        GammaBCE(0.1, label_reduction="max")
    with pytest.raises(ValueError, match="same shape"):
        GammaBCE(0.1)(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="`gamma` must be"):
        GammaCE(0.1).gamma.assign(1.1)
