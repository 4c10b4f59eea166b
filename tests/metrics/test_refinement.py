"""The loss after the best temperature, from sums."""

import warnings

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from keras_calib import NegativeLogLikelihood, RefinementLoss, evaluate
from tests.backends import jax_only
from tests.calibrators import data


def exact(z, y, weight=None):
    """The loss and T by SciPy, in float64."""

    def loss(u):
        log_p = log_softmax(z * np.exp(-u), -1)
        return np.average(-log_p[np.arange(len(y)), y], weights=weight)

    grid = np.linspace(-8, 8, 161)
    near = grid[np.argmin([loss(u) for u in grid])]
    found = minimize_scalar(
        loss, bounds=(near - 0.1, near + 0.1), method="bounded", options={"xatol": 1e-9}
    )
    return found.fun, np.exp(found.x)


def measured(y, z, weight=None, **arguments):
    metric = RefinementLoss(**arguments)
    metric.update_state(y, z, weight)
    return metric


@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("k", [2, 10])
def test_within_the_bound_of_the_exact_minimum(scale, k):
    z, y = data.made(500, k)
    best, temperature = exact(z, y)
    metric = measured(y, scale * z, from_logits=True, dtype="float64")
    parts = metric.parts()
    assert parts["refinement_loss"] == pytest.approx(best, abs=1e-4)
    assert parts["temperature"] == pytest.approx(scale * temperature, rel=2e-2)
    assert float(metric.result()) == pytest.approx(parts["refinement_loss"], abs=2e-6)
    total = NegativeLogLikelihood(from_logits=True, dtype="float64")
    total.update_state(y, scale * z)
    assert parts["negative_log_likelihood"] == pytest.approx(
        float(total.result()), rel=1e-6
    )
    assert parts["calibration_loss"] == (
        parts["negative_log_likelihood"] - parts["refinement_loss"]
    )


def test_real_nets_to_the_bound():
    for outputs in (data.densenet, data.wideresnet):
        p, y = outputs()
        best, _ = exact(np.log(p), y)
        found = measured(y, p, dtype="float64").parts()
        assert found["refinement_loss"] == pytest.approx(best, abs=1e-4)


def test_over_any_split_and_order():
    z, y = data.made(700, 5)
    z, w = z.astype("float32"), np.random.default_rng(1).integers(0, 4, 700)
    whole = measured(y, z, w, from_logits=True)
    order = np.random.default_rng(2).permutation(700)
    parts = RefinementLoss(from_logits=True)
    for rows in np.array_split(order, 7):
        parts.update_state(y[rows], z[rows], w[rows])
    assert float(parts.result()) == pytest.approx(float(whole.result()), abs=1e-6)
    for name, value in whole.parts().items():
        assert parts.parts()[name] == pytest.approx(value, rel=1e-5), name


def test_one_probability_is_two_classes():
    z, y = data.made(400, 2)
    d = z[:, 1] - z[:, 0]
    expected = float(measured(y, z, from_logits=True).result())
    for arguments in ((y, d), (y[:, None], d[:, None])):
        found = float(measured(*arguments, from_logits=True).result())
        assert found == pytest.approx(expected, abs=1e-6)
    found = float(measured(y, expit(d)).result())
    assert found == pytest.approx(expected, abs=1e-5)


def test_sure_predictions():
    """Of probabilities 0 and 1, and of logits that are always right."""
    p = np.eye(3)[[0, 1, 2, 2]]
    assert 0 < float(measured([0, 1, 2, 1], p).result()) < np.log(3)
    assert float(measured([0, 1, 2, 2], p).result()) == pytest.approx(0, abs=1e-6)
    assert float(measured([0, 1], [0.0, 1.0]).result()) == pytest.approx(0, abs=1e-6)


def test_it_is_not_negative():
    """As a spline near 0 may be."""
    assert float(measured([0, 1], np.eye(3)[:2], from_logits=True).result()) == 0


def test_chance():
    """Where logits mislead, the best prediction is the uniform one, of T = infinity."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3000, 4))
    parts = measured(z.argmin(-1), z, from_logits=True).parts()
    assert parts["refinement_loss"] == pytest.approx(np.log(4), abs=1e-6)
    assert parts["temperature"] == np.inf


@pytest.mark.parametrize("kind", ["float32", "float64", "evaluate"])
def test_huge_logits_are_not_masked(kind):
    """No temperature of those helps, and the uniform prediction does."""
    z, y = np.array([[2.0, 0], [0, 3], [0, 1]]) * 1e12, [0, 1, 0]
    if kind == "evaluate":
        found = evaluate(y, z * 1e18, from_logits=True)["refinement_loss"]
    else:
        found = float(measured(y, z * 1e18, from_logits=True, dtype=kind).result())
    assert found == pytest.approx(np.log(2))


@jax_only
def test_no_warning_of_float64_where_jax_has_none():
    import jax

    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(measured([0, 1], np.eye(2)).result()) == pytest.approx(0, abs=1e-6)


def test_a_masked_class():
    z, y = data.made(300, 4)
    y = np.where(y == 3, 0, y)
    without = float(measured(y, z[:, :3], from_logits=True).result())
    z[:, 3] = -np.inf
    for labels in (y, np.eye(4)[y]):
        found = float(measured(labels, z, from_logits=True).result())
        assert found == pytest.approx(without, abs=1e-6)


def test_a_rising_loss_and_a_falling_refinement():
    """EarlyStopping sees the direction."""
    z, y = data.made(400, 3)
    x = z.astype("float32")
    net = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, kernel_initializer="identity")]
    )
    net.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[RefinementLoss(from_logits=True)],
    )
    stop = keras.callbacks.EarlyStopping("val_refinement_loss", patience=1)
    history = net.fit(
        x,
        y,
        batch_size=100,
        epochs=2,
        validation_data=(x, y),
        callbacks=[stop],
        verbose=0,
    ).history
    p = softmax(convert_to_numpy(net(x)).astype("float64"), -1)
    best, _ = exact(np.log(p), y)
    assert history["val_refinement_loss"][-1] == pytest.approx(best, abs=1e-4)
    assert stop.best == min(history["val_refinement_loss"])
