"""Linear maps end at the optimum, or say that they do not."""

import warnings

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from keras_calib import calibrators
from tests.backends import jax_only

MAPS = {
    "vector": calibrators.VectorScaling,
    "matrix": calibrators.MatrixScaling,
    "dirichlet": calibrators.DirichletCalibration,
}


def problem(seed):
    """Returns logits, labels, weights and penalties, often of an ill kind."""
    rng = np.random.default_rng(seed)
    k, n = int(rng.choice([2, 3, 4, 8])), int(rng.integers(20, 300))
    z = 3 * rng.normal(size=(n, k)) * np.exp(rng.normal(size=k) * rng.choice([0, 1.5]))
    y = (z / 2 + rng.gumbel(size=z.shape)).argmax(-1)
    if rng.uniform() < 0.2:  # separable
        y = z.argmax(-1)
    if rng.uniform() < 0.3:  # a class that occurs in no label
        y[y == k - 1] = 0
    y[:2] = 0, 1
    z = (z + rng.choice([0.0, 10.0])) * 10 ** rng.uniform(-2, 2)
    weight = rng.exponential(size=n) ** rng.choice([0, 1, 5])
    return z, y, weight, rng.choice([1.0, 1e-2, 1e-4, 0.0], 2)


class Objective:
    """The penalized likelihood with its whole Hessian."""

    def __init__(self, layer, z, y, weight):
        n, k = z.shape
        x = log_softmax(z, -1) if layer.log_probabilities else z
        one = np.ones((n, 1))
        # features[n, k, j]: what parameter j adds to the score of class k.
        if layer.full_matrix:
            rows = np.einsum("kl,nj->nklj", np.eye(k), np.hstack([x, one]))
            penalty = np.full((k, k + 1), layer.off_diagonal_penalty / (k * (k - 1)))
            np.fill_diagonal(penalty, 0)
        else:
            rows = np.einsum("kl,nkj->nklj", np.eye(k), np.stack([x, x**0], -1))
            penalty = np.zeros((k, 2))
        penalty[:, -1] = layer.bias_penalty / k
        self.features, self.penalty = rows.reshape(n, k, -1), penalty.ravel()
        self.weight, self.y = weight / weight.sum(), np.eye(k)[y]

    def __call__(self, theta):
        s = self.features @ theta
        loss = self.weight @ (logsumexp(s, -1) - (self.y * s).sum(-1))
        return loss + self.penalty @ theta**2

    def step(self, theta):
        """Returns a Newton step."""
        p = np.exp(log_softmax(self.features @ theta, -1))
        slope = np.einsum("n,nk,nkj->j", self.weight, p - self.y, self.features)
        slope += 2 * self.penalty * theta
        centered = self.features - np.einsum("nk,nkj->nj", p, self.features)[:, None]
        root = np.sqrt(self.weight[:, None] * p)[..., None] * centered
        root = root.reshape(-1, len(theta))
        hessian = root.T @ root + 2 * np.diag(self.penalty)
        unit = np.sqrt(np.diag(hessian)) + 1e-300
        scaled = hessian / unit / unit[:, None]
        return np.linalg.lstsq(scaled, -slope / unit, rcond=1e-13)[0] / unit

    def minimum(self, theta):
        value = self(theta)
        for _ in range(100):
            step = self.step(theta)
            for size in 0.5 ** np.arange(40):
                if (new := self(theta + size * step)) < value:
                    theta, value = theta + size * step, new
                    break
            else:
                break
        return value


@pytest.mark.parametrize("method", MAPS)
@pytest.mark.parametrize("seed", range(8))
def test_at_the_optimum_or_a_warning(method, seed):
    z, y, weight, (penalty, bias_penalty) = problem(seed)
    arguments = {"bias_penalty": bias_penalty, "dtype": "float64"}
    if method != "vector":
        arguments["off_diagonal_penalty"] = penalty
    layer = MAPS[method](**arguments)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        layer.fit(z, y, weight)
    scale, bias = layer.get_weights()
    objective = Objective(layer, z, y, weight)
    found = np.hstack([scale.reshape(len(bias), -1), bias[:, None]]).ravel()
    best = min(objective.minimum(0 * found), objective.minimum(found))
    assert said or objective(found) - best < 1e-8 * max(1, best)


def test_a_warning_where_it_stops_early(monkeypatch):
    module = "keras_calib.calibrators.softmax_regression"
    monkeypatch.setattr(f"{module}._STEPS", 2)
    z, y, *_ = problem(0)
    with pytest.warns(UserWarning, match="has not converged"):
        calibrators.MatrixScaling().fit(z, y)


def test_more_classes_than_have_a_curvature_each(monkeypatch):
    module = "keras_calib.calibrators.softmax_regression"
    z, y, *_ = problem(1)
    expected = calibrators.MatrixScaling(dtype="float64").fit(z, y).get_weights()
    monkeypatch.setattr(f"{module}._MANY_CLASSES", 1)
    found = calibrators.MatrixScaling(dtype="float64").fit(z, y).get_weights()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@jax_only
@pytest.mark.parametrize("name", ["matrix", "dirichlet"])
def test_an_accelerator_rounds_no_factor(name):
    import jax

    shapes = (8, 3), (3, 3), (3,)
    tensors = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
    with jax.default_matmul_precision("tensorfloat32"):
        program = jax.jit(MAPS[name]().transform).lower(*tensors)
    assert "precision = [HIGHEST, HIGHEST]" in program.as_text()
