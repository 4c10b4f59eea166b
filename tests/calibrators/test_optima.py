"""Fits end at the optimum that SciPy finds on the same objective, in 200 problems."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logsumexp, softmax
from sklearn.isotonic import IsotonicRegression
from threadpoolctl import threadpool_limits

from keras_calib import calibrators
from keras_calib.calibrators.ensemble import likeliest_mixture
from keras_calib.calibrators.samples import Samples
from keras_calib.calibrators.temperature import log_temperature, usual_bounds
from tests.backends import slow_on_jax

TIGHT = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 10000, "maxfun": 10000, "maxcor": 40}
BFGS_TIGHT = {"gtol": 1e-10, "maxiter": 5000}


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


def squares(samples, _):
    """The temperature of the smallest Brier score, which is not convex."""
    low, high = np.log(usual_bounds(samples))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some optima are at a bound
        layer = calibrators.TemperatureScaling("brier")
        found = np.log(layer.adjust(samples)["temperature"])

    def objective(u):
        p = softmax(samples.logits * np.exp(-np.reshape(u, (-1, 1, 1))), -1)
        return np.square(p - samples.targets).sum(-1) @ samples.weight

    grid = np.linspace(low, high, 200)
    near, step = grid[np.argmin(objective(grid))], grid[1] - grid[0]
    peer = minimize_scalar(
        lambda u: float(objective(u)[0]),
        bounds=(max(low, near - step), min(high, near + step)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return float(objective(found)[0]), min(peer.fun, objective(near)[0])


def noise(samples, _):
    """The share of uniform labels, gamma K / (1 + (K - 1) gamma)."""
    gamma = calibrators.NoiseCorrection().adjust(samples)["noise"]
    k = samples.num_classes
    p = (softmax(samples.logits, -1) * samples.targets).sum(-1)

    def objective(share):
        return -samples.weight @ np.log((1 - share) * p + share / k)

    options = {"xatol": 1e-12}
    peer = minimize_scalar(objective, bounds=(0, 1), method="bounded", options=options)
    return objective(gamma * k / (1 + (k - 1) * gamma)), peer.fun


def beta(samples, _):
    """The last class, in log a and log b, or at a = 0 or b = 0."""
    fitted = calibrators.BetaCalibration().adjust(samples)
    z, hit, w = samples.logits, samples.targets[:, -1], samples.weight
    d = z[:, -1] - logsumexp(z[:, :-1], -1)
    x = np.stack([-np.logaddexp(0, -d), np.logaddexp(0, d), np.ones_like(d)], -1)

    def objective(theta):
        eta = x @ theta
        loss = hit * np.logaddexp(0, -eta) + (1 - hit) * np.logaddexp(0, eta)
        return w @ loss, (w * (expit(eta) - hit)) @ x

    def peer(free, start):
        def in_logs(u):
            theta = np.zeros(3)
            theta[free], theta[2] = np.exp(u[:-1]), u[-1]
            value, slope = objective(theta)
            return value, np.r_[slope[free] * theta[free], slope[2]]

        u, bounds = np.r_[np.full(len(free), start), 0.0], [(-80, 80)] * len(free)
        bounds.append((None, None))
        return minimize(in_logs, u, jac=True, bounds=bounds, options=TIGHT).fun

    theta = np.array([fitted[name][-1] for name in "abc"])
    assert (theta[:2] >= 0).all()
    best = min(peer(free, u) for free in ([0, 1], [0], [1]) for u in (0.0, 25.0))
    return objective(theta)[0], best


def isotonic(samples, _):
    """The squared error of the last class's steps, by scikit-learn."""
    layer = calibrators.IsotonicCalibration()
    fitted = layer.adjust(samples)
    z, hit, w = samples.logits, samples.targets[:, -1], samples.weight
    d = z[:, -1] - logsumexp(z[:, :-1], -1)
    low = 1 / (samples.total + 2)
    peer = IsotonicRegression(y_min=low, y_max=1 - low).fit(d, hit, w).predict(d)
    ours = np.interp(d, fitted["knots"][-1], fitted["values"][-1])
    return w @ (ours - hit) ** 2, w @ (peer - hit) ** 2


def vector_scaling(samples, strength):
    return linear(samples, calibrators.VectorScaling(strength))


def matrix_scaling(samples, strength):
    return linear(samples, calibrators.MatrixScaling(strength, strength))


def dirichlet(samples, strength):
    return linear(samples, calibrators.DirichletCalibration(strength, strength))


def linear(samples, layer):
    """The diagonal entry of a class without a label may be infinite: fit its arsinh."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of such an entry
        fitted = layer.adjust(samples)
    x = samples.logits
    if layer.log_probabilities:
        x = log_softmax(x, -1)
    unit, y, w = np.abs(x).max(), samples.targets, samples.weight
    x, k, full = x / unit, samples.num_classes, layer.full_matrix
    factor = np.full((k, k), layer.off_diagonal_penalty / (k * (k - 1)) / unit**2)
    np.fill_diagonal(factor, 0.0)

    def objective(theta):
        b = theta[-k:]
        m = theta[:-k].reshape(k, k) if full else np.diag(theta[:-k])
        log_p = log_softmax(x @ m.T + b, -1)
        value = -w @ (y * log_p).sum(-1) + layer.bias_penalty / k * b @ b
        value += (factor * m * m).sum()
        error = w[:, None] * (np.exp(log_p) - y)
        slope = error.T @ x + 2 * factor * m
        slope = slope.ravel() if full else np.diag(slope)
        return value, np.r_[slope, error.sum(0) + 2 * layer.bias_penalty / k * b]

    theta = np.r_[fitted["scale"].ravel() * unit, fitted["bias"]]
    start = np.r_[np.eye(k).ravel() if full else np.ones(k), np.zeros(k)]
    if y[:, -1].any():
        peer = minimize(objective, start, jac=True, method="BFGS", options=BFGS_TIGHT)
        return objective(theta)[0], peer.fun
    last = k * k - 1 if full else k - 1

    def in_sinh(u):
        theta, factor = u.copy(), np.ones_like(u)
        theta[last], factor[last] = np.sinh(u[last]), np.cosh(u[last])
        value, slope = objective(theta)
        return value, slope * factor

    bounds = [(None, None)] * len(start)
    bounds[last] = -80, 80
    peers = []
    for start[last] in (1.0, 25.0):
        peers.append(minimize(in_sinh, start, jac=True, bounds=bounds, options=TIGHT))
    return objective(theta)[0], min(peer.fun for peer in peers)


FITS = [
    *(temperature, squares, vector, matrix, quadratic, ensemble, platt, noise, beta),
    *(isotonic, vector_scaling, matrix_scaling, dirichlet),
]


@pytest.mark.slow
@pytest.mark.parametrize("fit", FITS)
def test_at_the_optimum(fit):
    with threadpool_limits(1):  # on such small arrays, threads only wait
        for seed in range(200):
            found, best = fit(*problem(seed))
            # The infimum of separable samples is 0.
            assert found <= best + 1e-8 * best + 1e-10, seed
            # SciPy stops near it, too: both have the same objective.
            assert found >= best - 1e-4 * max(1, best), seed


@slow_on_jax
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_separable_samples_keep_beta_finite_and_increasing(scale):
    d = scale * np.linspace(-3, 3, 30)
    for labels in (
        d > 0,
        d < 0,
        d > 2.5 * scale,
        (d > 2.5 * scale) & (d < 2.9 * scale),
    ):
        layer = calibrators.BetaCalibration(from_logits=True)
        with warnings.catch_warnings():
            # Keras with torch raises a DeprecationWarning of its own.
            for category in (RuntimeWarning, UserWarning):
                warnings.simplefilter("error", category)
            layer.fit(d[:, None], labels)
        seen = np.r_[d, -1e4, 1e4, np.nextafter(d, np.inf)]
        p = layer.probabilities(np.stack([0 * seen, seen], -1)[seen.argsort()])[:, 1]
        assert np.isfinite(p).all()
        assert (np.diff(p) >= -1e-6).all()
        if (labels == (d > 0)).all():
            assert ((p[1:31] > 0.5) == (np.sort(seen)[1:31] > 0)).all()


def test_a_component_that_gives_an_event_no_chance():
    p = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 1.0, 0.5]])
    found = likeliest_mixture(p, np.ones(3))
    np.testing.assert_allclose(p @ found, [1 / 3, 2 / 3, 2 / 3], atol=1e-8)
    only = likeliest_mixture(np.array([[0.0, 0.0, 0.5], [1, 1, 0.5]]), np.ones(2))
    assert np.isfinite(only).all()
