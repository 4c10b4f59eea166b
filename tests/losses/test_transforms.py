"""Every loss, differentiated through what JAX traces; gradients in labels and gamma."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import losses
from keras_calib._keras import set_keras_mask
from tests.backends import every_compiler, jax_only
from tests.losses.table import ALL, BINARY, OF_A_BATCH, TRUE_CLASS
from tests.losses.tools import GRADIENT

EVERY = {
    f"{kind}_{name}": row
    for kind, rows in {"class": ALL, "binary": BINARY, "batch": OF_A_BATCH}.items()
    for name, row in rows.items()
}


def _checkpoint(f):
    import jax

    return jax.checkpoint(f)


def _jit(f):
    import jax

    return jax.jit(f)


def _scan(f):
    import jax

    def scanned(y, z):
        return jax.lax.scan(
            lambda sum_, x: (sum_ + f(*x), None), 0.0 * z.sum(), (y[None], z[None])
        )[0]

    return scanned


def _cond(f):
    import jax

    return lambda y, z: jax.lax.cond(
        z.sum() > -1e9, f, lambda y, z: 0.0 * z.sum(), y, z
    )


@jax_only
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("name", EVERY)
def test_gradients_through_all_transforms(name, from_logits):
    import jax

    row = EVERY[name]
    if row.logits_only and not from_logits:
        pytest.skip("takes logits alone")
    loss = row(from_logits=from_logits)
    y, z = (np.asarray(x, "float32") for x in row.batch())
    if not from_logits:
        z = 1.0 / (1.0 + np.exp(-z))
        z = z / z.sum(-1, keepdims=True)
    labels = {"integers": y}
    if isinstance(loss, losses.ClassLoss) and not row.integers_only:
        labels["soft"] = np.eye(5, dtype="float32")[y.astype(int)] * 0.9 + 0.02

    # One inside another, because each alone would take a compilation.
    through = _jit(_checkpoint(_scan(_cond(loss))))
    step = jax.jit(lambda y, z: [jax.grad(f, 1)(y, z) for f in (loss, through)])
    for y in map(ops.convert_to_tensor, labels.values()):
        expected, found = step(y, ops.convert_to_tensor(z))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@jax_only
@pytest.mark.parametrize("make", [losses.GammaCE, losses.GammaBCE])
@pytest.mark.parametrize("transform", [_jit, _checkpoint])
def test_a_traced_gamma_goes_through_each_transform(make, transform):
    import jax

    loss = make(0.1, from_logits=True)
    z = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(4, 3)), "float32")
    y = ops.convert_to_tensor(np.eye(4, 3, dtype="float32"))

    def of(gamma):
        def f(y, z):
            with keras.StatelessScope([(loss.gamma.variable, gamma)]):
                return loss(y, z)

        return jax.grad(transform(f), 1)(y, z)

    expected = GRADIENT(make(0.6, from_logits=True), y, z)[1]
    got = jax.jit(of)(ops.convert_to_tensor(0.6, "float32"))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


FUNCTIONS = {
    "class": (losses.gamma_ce, {}),
    "class_floor": (losses.gamma_ce, {"floor": 0.3}),
    "class_smoothed": (losses.gamma_ce, {"label_smoothing": 0.1}),
    "binary": (losses.gamma_bce, {}),
}


def _numerical(f, x):
    x, found = np.array(x, "float64"), np.zeros(np.shape(x))
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = 1e-5
        up, down = (
            float(ops.convert_to_numpy(f(ops.convert_to_tensor(x + s, "float64"))))
            for s in (step, -step)
        )
        found[index] = (up - down) / 2e-5
    return found


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_in_gamma_and_in_soft_labels(name, from_logits):
    function, arguments = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(4, 3)), rng.dirichlet(np.ones(3), 4)
    if not from_logits:
        z = rng.dirichlet(np.ones(3), 4)
    z, t = (ops.convert_to_tensor(x, "float64") for x in (z, t))

    def of(t, gamma):
        loss = function(t, z, gamma=gamma, from_logits=from_logits, **arguments)
        return ops.sum(loss)

    gamma = ops.convert_to_tensor(0.3, "float64")
    _, found = GRADIENT(of, t, gamma)
    expected = _numerical(lambda g: of(t, g), 0.3)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-7)
    _, found = GRADIENT(lambda gamma, t: of(t, gamma), gamma, t)
    expected = _numerical(lambda t: of(t, gamma), ops.convert_to_numpy(t))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-7)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_left_out_gives_gamma_no_gradient(name, from_logits):
    """Whatever it holds."""
    function, arguments = FUNCTIONS[name]
    of_classes = function is losses.gamma_ce
    z = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    y = np.array([-1, 0, 2, 1]) if of_classes else np.eye(3)[[0, 0, 2, 1]]

    def slope(y, z, mask=None, **ignoring):
        z = ops.convert_to_tensor(z, "float64")
        if mask is not None:
            set_keras_mask(z, ops.convert_to_tensor(mask))

        def of(_, gamma):
            how = {"gamma": gamma, "from_logits": from_logits}
            return ops.sum(function(y, z, **how, **arguments, **ignoring))

        return GRADIENT(of, 0, ops.convert_to_tensor(0.3, "float64"))[1]

    bad = np.where(np.arange(4)[:, None] == 0, np.nan, z)
    expected = ops.convert_to_numpy(slope(y[1:], z[1:]))
    found = [slope(y, bad, mask=np.arange(4) > 0)]
    found += [slope(y, bad, ignore_class=-1)] if of_classes else []
    for one in found:
        np.testing.assert_allclose(ops.convert_to_numpy(one), expected, rtol=1e-12)


SMALL = [0.0, 3e-42, 1e-38, 1e-30, 1e-20, 1e-10, 0.5, 1.0]


@pytest.mark.thorough
@every_compiler
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", [n for n in ALL if not ALL[n].logits_only])
def test_gradients_of_small_probabilities_survive_the_compiler(name, soft, compiler):
    loss = ALL[name](reduction=None)
    p = np.zeros((len(SMALL), 5), "float32")
    p[:, 0], p[:, 1] = SMALL, 1.0 - np.array(SMALL)
    y = np.zeros(len(SMALL), "float32")
    if soft:
        y = np.eye(5, dtype="float32")[y.astype(int)]
    y, p = ops.convert_to_tensor(y), ops.convert_to_tensor(p)

    def f(y, p):
        return GRADIENT(loss, y, p)

    _, found = (compiler(f) if compiler else f)(y, p)
    _, expected = f(y, p)
    assert np.isfinite(ops.convert_to_numpy(found)).all()
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), ops.convert_to_numpy(expected), rtol=2e-5
    )


@pytest.mark.thorough
@every_compiler
@pytest.mark.parametrize("name", BINARY)
def test_gradients_of_small_binary_probabilities(name, compiler):
    loss = BINARY[name](reduction=None)
    p = ops.convert_to_tensor([[x, 1.0 - x] for x in SMALL])
    for y in (ops.ones_like(p), ops.zeros_like(p)):

        def f(y, p):
            return GRADIENT(loss, y, p)

        _, found = (compiler(f) if compiler else f)(y, p)
        assert np.isfinite(ops.convert_to_numpy(found)).all()


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("label", [-1, 5, 7, 0.5])
@pytest.mark.parametrize("name", ALL)
def test_a_label_that_is_no_class_gives_nan(name, label, from_logits):
    row = ALL[name]
    if row.logits_only and not from_logits:
        pytest.skip("takes logits alone")
    p = np.full((3, 5), 0.2, "float32")
    y = np.array([0, label, 4], "float32")
    found = ops.convert_to_numpy(row(from_logits=from_logits, reduction=None)(y, p))
    assert np.isnan(found).tolist() == [False, True, False]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", [n for n in TRUE_CLASS if not ALL[n].logits_only])
def test_a_label_of_no_probability_gives_nan(name, soft):
    p = np.array([[1.3, -0.3, 0, 0, 0], [-0.3, 1.3, 0, 0, 0], [1, 0, 0, 0, 0]])
    y = np.zeros(3)
    if soft:
        y = np.eye(5)[y.astype(int)]
    found = ops.convert_to_numpy(ALL[name](reduction=None)(y, p.astype("float32")))
    assert np.isnan(found).tolist() == [True, True, False]


@pytest.mark.parametrize("name", BINARY)
def test_a_binary_label_or_probability_outside_of_the_unit_interval_gives_nan(name):
    loss = BINARY[name](reduction=None)
    y = np.array([[0.0], [2.0], [-1.0], [1.0], [0.0]], "float32")
    p = np.array([[0.3], [0.3], [0.3], [1.5], [-0.1]], "float32")
    found = ops.convert_to_numpy(loss(y, p))
    assert np.isnan(found).tolist() == [False, True, True, True, True]


@pytest.mark.parametrize("name", TRUE_CLASS)
def test_masked_classes_of_no_target_change_nothing(name):
    loss = TRUE_CLASS[name](from_logits=True, reduction=None)
    if loss.label_smoothing:
        pytest.skip("smoothing gives each class a target")
    z = np.array([[1.0, 0.0, -1.0, -np.inf, 2.0]], "float32")
    y = np.array([[0.5, 0.2, 0.3, 0.0, 0.0]], "float32")
    very_low = np.where(np.isfinite(z), z, -1e4).astype("float32")
    found, expected = (
        GRADIENT(loss, ops.convert_to_tensor(y), ops.convert_to_tensor(x))
        for x in (z, very_low)
    )
    for x, wanted in zip(found, expected, strict=True):
        x, wanted = ops.convert_to_numpy(x), ops.convert_to_numpy(wanted)
        np.testing.assert_allclose(x, wanted, rtol=1e-6, atol=1e-30)
