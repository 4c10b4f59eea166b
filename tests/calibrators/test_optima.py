"""Fits end at the optimum that SciPy finds on the same objective, in 200 problems."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax

from keras_calib import calibrators
from keras_calib.calibrators.ensemble import likeliest_mixture
from keras_calib.calibrators.samples import Samples
from keras_calib.calibrators.temperature import log_temperature, usual_bounds
from tests.backends import slow_on_jax

TIGHT = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 10000, "maxfun": 10000}


def problem(seed):
    """Returns samples, some of them separable, without a class, or with weights."""
    rng = np.random.default_rng(seed)
    k, n = int(rng.choice([2, 3, 5])), int(rng.integers(10, 150))
    z = 3 * rng.normal(size=(n, k)) * 10 ** rng.uniform(-1, 1)
    y = (z / rng.uniform(0.5, 3) + rng.gumbel(size=z.shape)).argmax(-1)
    if rng.uniform() < 0.1:  # separable
        y = z.argmax(-1)
    if rng.uniform() < 0.2:  # a class that occurs in no label
        y[y == k - 1] = 0
    y[:2] = 0, 1
    weight = rng.exponential(size=n) + 0.1 if rng.uniform() < 0.3 else None
    return Samples.read(z, y, weight), 10 ** rng.uniform(-1, 3)


def tempered(samples, fitted):
    """Returns the features as the documentation defines them."""
    k, n = samples.num_classes, samples.total
    assert fitted["uniform"] == pytest.approx(1 / (n + 1), rel=1e-14)
    p = softmax(samples.logits / fitted["temperature"], -1)
    return np.log((1 - 1 / (n + 1)) * p + 1 / (n + 1) / k)


def structured(samples, strength, *, full):
    """Returns the objective of a fit, and SciPy's."""
    cls = "StructuredMatrixScaling" if full else "StructuredVectorScaling"
    fitted = getattr(calibrators, cls)(strength).adjust(samples)
    x, k, n = tempered(samples, fitted), samples.num_classes, samples.total
    factor = np.full((k, k), k * (k - 1) / n)
    np.fill_diagonal(factor, k / n)
    eye, y, w = np.eye(k), samples.targets, samples.weight

    def objective(theta):
        b = theta[-k:]
        d = theta[:-k].reshape(k, k) if full else np.diag(theta[:-k])
        log_p = log_softmax(x @ (eye + d).T + b, -1)
        value = -w @ (y * log_p).sum(-1)
        value += strength * ((factor * d * d).sum() + k / n * b @ b)
        error = w[:, None] * (np.exp(log_p) - y)
        slope = error.T @ x + 2 * strength * factor * d
        slope = slope.ravel() if full else np.diag(slope)
        return value, np.r_[slope, error.sum(0) + 2 * strength * k / n * b]

    change = fitted["scale"] - (eye if full else 1)
    theta = np.r_[change.ravel(), fitted["bias"]]
    start = 0.1 * np.random.default_rng(0).normal(size=len(theta))
    peer = minimize(objective, start, jac=True, method="L-BFGS-B", options=TIGHT)
    return objective(theta)[0], peer.fun


def matrix(samples, strength):
    return structured(samples, strength, full=True)


def vector(samples, strength):
    return structured(samples, strength, full=False)


def quadratic(samples, _):
    return sigmoid(samples, calibrators.QuadraticScaling(), 2)


def platt(samples, _):
    return sigmoid(samples, calibrators.PlattScaling(), 1)


def sigmoid(samples, layer, degree):
    """The class 1 of two, or the last of more."""
    fitted = layer.adjust(samples)
    z, w = samples.logits, samples.weight * samples.total
    rest = np.log(np.exp(z[:, :-1] - z.max()).sum(-1)) + z.max()
    d, hit = z[:, -1] - rest, samples.targets[:, -1]
    high, low = (w @ hit + 1) / (w @ hit + 2), 1 / (w @ (1 - hit) + 2)
    target = np.where(hit > 0, high, low)
    powers = np.arange(degree, -1, -1)
    unit = np.abs(d).max() ** -powers.astype("float64")
    x = d[:, None] ** powers * unit

    def objective(theta):
        eta = x @ theta
        slope = samples.weight * (expit(eta) - target)
        return samples.weight @ (np.logaddexp(0, eta) - target * eta), slope @ x

    names = ("curvature", "slope", "intercept")[-degree - 1 :]
    theta = np.array([fitted[name][-1] for name in names])
    options = {"gtol": 1e-12, "maxiter": 10000}
    start = np.zeros(degree + 1)
    peer = minimize(objective, start, jac=True, method="BFGS", options=options)
    return objective(theta / unit)[0], peer.fun


def ensemble(samples, _):
    """In the logarithms of the shares, which need no constraint."""
    fitted = calibrators.EnsembleTemperatureScaling().adjust(samples)
    z, k = samples.logits, samples.num_classes
    y = samples.targets.argmax(-1)[:, None]
    p = [softmax(z / fitted["temperature"], -1), softmax(z, -1), 0 * z + 1 / k]
    p = np.hstack([np.take_along_axis(each, y, -1) for each in p])

    def objective(m):
        return -samples.weight @ np.log(p @ m), -(samples.weight / (p @ m)) @ p

    assert fitted["mixture"].sum() == pytest.approx(1, abs=1e-14)
    assert (fitted["mixture"] >= 0).all()
    peer = minimize(
        objective,
        np.full(3, 1 / 3),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda m: m.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return objective(fitted["mixture"])[0], objective(peer.x / peer.x.sum())[0]


def temperature(samples, _):
    """Within the bounds of the layer, where some of the samples have no optimum."""
    low, high = np.log(usual_bounds(samples))

    def objective(u):
        log_p = log_softmax(samples.logits * np.exp(-u), -1)
        return -samples.weight @ (samples.targets * log_p).sum(-1)

    grid = np.linspace(low, high, 100)
    near = grid[np.argmin([objective(u) for u in grid])]
    step, options = grid[1] - grid[0], {"xatol": 1e-10}
    bounds = max(low, near - step), min(high, near + step)
    peer = minimize_scalar(objective, bounds=bounds, method="bounded", options=options)
    return objective(log_temperature(samples)), peer.fun


def vector_scaling(samples, strength):
    """Where it says that it has not converged, there is nothing to compare."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fitted = calibrators.VectorScaling(strength).adjust(samples)
    if said:
        return None
    unit, y, w = np.abs(samples.logits).max(), samples.targets, samples.weight
    x, k = samples.logits / unit, samples.num_classes

    def objective(theta):
        s, b = theta[:k], theta[k:]
        log_p = log_softmax(x * s + b, -1)
        value = -w @ (y * log_p).sum(-1) + strength / k * b @ b
        error = w[:, None] * (np.exp(log_p) - y)
        rest = error.sum(0) + 2 * strength / k * b
        return value, np.r_[(error * x).sum(0), rest]

    theta = np.r_[fitted["scale"].ravel() * unit, fitted["bias"]]
    start = np.repeat([1.0, 0.0], k)
    peer = minimize(objective, start, jac=True, method="L-BFGS-B", options=TIGHT)
    return objective(theta)[0], peer.fun


@slow_on_jax  # the fits are numpy's on each backend
@pytest.mark.parametrize(
    "fit", [temperature, vector, matrix, quadratic, ensemble, platt, vector_scaling]
)
def test_at_the_optimum(fit):
    compared = 0
    for seed in range(200):
        pair = fit(*problem(seed))
        if pair is None:
            continue
        compared += 1
        found, best = pair
        assert found <= best + 1e-8 * max(1, best), seed
        # SciPy stops near it, too: both have the same objective.
        assert found >= best - 1e-4 * max(1, best), seed
    assert compared > 100


def test_a_component_that_gives_an_event_no_chance():
    p = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 1.0, 0.5]])
    found = likeliest_mixture(p, np.ones(3))
    np.testing.assert_allclose(p @ found, [1 / 3, 2 / 3, 2 / 3], atol=1e-8)
    only = likeliest_mixture(np.array([[0.0, 0.0, 0.5], [1, 1, 0.5]]), np.ones(2))
    assert np.isfinite(only).all()
