"""Margin softmax, hinges over K classes, and what Keras has of them."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import logsumexp

from keras_calib import AdditiveMarginSoftmax, GammaCE, MulticlassHinge
from keras_calib._keras import set_tensor_attr
from keras_calib.layers import CosineLogits
from tests.backends import not_on_torch
from tests.losses import exact
from tests.losses.tools import per_sample, value_and_gradient

MP = exact.mp
COSINES = np.array([[0.6, 0.3, -0.1]])
Z = np.array([[1.0, 2.0, 0.5]])


def test_additive_margin_reference():
    loss = AdditiveMarginSoftmax(0.35, 30.0, dtype="float64")
    value, gradient = value_and_gradient(loss, [0], COSINES, "float64")
    assert value == pytest.approx(1.701418301321331, abs=2e-15)
    # s (p - e) of the logits with the margin.
    z = 30 * (COSINES - 0.35 * np.eye(3)[0])
    p = np.exp(z - logsumexp(z))
    np.testing.assert_allclose(gradient, 30 * (p - np.eye(3)[0]), rtol=1e-12)
    none = AdditiveMarginSoftmax(0.0, 30.0, dtype="float64")
    got = per_sample(none, [0], COSINES)[0]
    assert got == pytest.approx(1.2340294788515e-4, rel=1e-13)


@pytest.mark.parametrize("a", [0.0, 5.0, 22.5, 80.0])
def test_additive_margin_is_exact(a):
    def reference(p, q):
        odds = MP.exp(a) * q / p
        return MP.log1p(odds), odds / (1 + odds) / q

    # A q below the smallest normal number is lost, and e^a times as much with it.
    exact.check(AdditiveMarginSoftmax(a, 1.0), reference, lost=np.exp(a))


@pytest.mark.parametrize("soft", [False, True])
def test_a_learned_scale_has_its_gradient(soft):
    """The scale of CosineLogits moves logits and margin: central differences."""
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-1, 1, (30, 3))
    y = rng.dirichlet(np.ones(3), 30) if soft else np.arange(30) % 3

    def at(scale):
        loss = AdditiveMarginSoftmax(0.35, scale, dtype="float64")
        return float(loss(y, cosines))

    def of_scale(y, scale):
        logits = scale * ops.convert_to_tensor(cosines)
        set_tensor_attr(logits, "_keras_calib_scale", scale)
        return AdditiveMarginSoftmax(0.35, None, dtype="float64")(y, logits)

    value, gradient = value_and_gradient(of_scale, y, 12.0, "float64")
    assert float(value) == pytest.approx(at(12.0), rel=1e-14)
    expected = (at(12 + 1e-5) - at(12 - 1e-5)) / 2e-5
    assert float(gradient) == pytest.approx(expected, rel=1e-8)


def test_fit_takes_that_gradient():
    keras.utils.set_random_seed(0)
    head = CosineLogits(3, scale=12.0, learn_scale=True)
    model = keras.Sequential([keras.Input((4,)), head])
    model.compile(keras.optimizers.SGD(1.0), AdditiveMarginSoftmax(0.35, scale=None))
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    y = np.arange(30) % 3
    cosines = ops.convert_to_numpy(model(x)).astype("float64") / 12
    low, high = (
        float(AdditiveMarginSoftmax(0.35, scale, dtype="float64")(y, cosines))
        for scale in (12 - 1e-5, 12 + 1e-5)
    )
    model.fit(x, y, batch_size=30, verbose=0)
    moved = 12.0 - float(head.learned_scale)
    assert moved == pytest.approx((high - low) / 2e-5, rel=1e-4)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=not_on_torch)])
def test_a_learned_scale_trains_to_its_bound_and_is_saved(tmp_path, jit_compile):
    keras.utils.set_random_seed(0)
    head = CosineLogits(3, scale=12.0, learn_scale=True, min_scale=8.0)
    model = keras.Sequential([keras.Input((4,)), head])
    model.compile(
        keras.optimizers.SGD(1.0),
        AdditiveMarginSoftmax(0.35, scale=None),
        jit_compile=jit_compile,
    )
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    y = np.arange(30) % 3  # labels that nothing explains: the scale falls
    model.fit(x, y, epochs=20, verbose=0)
    assert float(head.learned_scale) == 8.0
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_the_scale_is_given_once():
    with pytest.raises(ValueError, match="Received: scale=None and .* carry none"):
        AdditiveMarginSoftmax(scale=None)([0], COSINES)


def test_the_scale_is_not_given_twice():
    layer = CosineLogits(3, scale=30.0)
    with pytest.raises(ValueError, match="Received: scale=30.0 and .* carry one"):
        AdditiveMarginSoftmax()([0], layer(np.ones((1, 4), "float32")))


# Hinges.


@pytest.mark.parametrize(
    ("form", "margin", "expected"),
    [
        ("sum", 1.0, 2.5),
        ("max", 1.0, 2.0),
        ("logsumexp", 0.0, 1.201413277982753),
        ("softplus", 0.0, 1.464368784107945),
    ],
)
def test_hinge_reference(form, margin, expected):
    loss = MulticlassHinge(form, margin, dtype="float64")
    assert per_sample(loss, [0], Z)[0] == pytest.approx(expected, abs=1e-15)


def test_gradient_of_the_smoothed_hinge():
    """The softmax over the others, -1 on the true class; none once it leads."""
    loss = MulticlassHinge("logsumexp", 0.0, dtype="float64")
    _, gradient = value_and_gradient(loss, [0], Z, "float64")
    others = np.exp(Z[0, 1:]) / np.exp(Z[0, 1:]).sum()
    np.testing.assert_allclose(gradient[0], [-1.0, *others], rtol=1e-14)
    _, gradient = value_and_gradient(loss, [0], [[9.0, 0.0, 0.0]], "float64")
    assert not gradient.any()


def test_from_the_hinge_to_cross_entropy():
    """max < logsumexp <= max + log(K - 1), and softplus is cross-entropy."""
    z = np.random.default_rng(0).normal(0, 2, (50, 6))
    y = np.arange(50) % 6
    far = 30.0  # every hinge is active
    largest, smooth = (
        per_sample(MulticlassHinge(form, far, dtype="float64"), y, z)
        for form in ("max", "logsumexp")
    )
    assert (largest < smooth).all()
    assert (smooth <= largest + np.log(5)).all()
    np.testing.assert_allclose(
        per_sample(MulticlassHinge("softplus", 0.0, dtype="float64"), y, z),
        per_sample(GammaCE(0.0, from_logits=True, dtype="float64"), y, z),
        rtol=1e-12,
    )


def test_keras_has_the_binary_hinges():
    """y = 1, f = .3: .7 and .49, with gradients -1 and -1.4."""
    for loss, expected, slope in (
        (keras.losses.Hinge(dtype="float64"), 0.7, -1.0),
        (keras.losses.SquaredHinge(dtype="float64"), 0.49, -1.4),
    ):
        value, gradient = value_and_gradient(
            loss, np.array([[1.0]]), np.array([[0.3]]), "float64"
        )
        assert value == pytest.approx(expected)
        assert gradient[0, 0] == pytest.approx(slope)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`margin` .*Received: -1"):
        AdditiveMarginSoftmax(-1)
    with pytest.raises(ValueError, match=r"`scale` .*Received: 0"):
        AdditiveMarginSoftmax(0.35, 0)
    with pytest.raises(
        ValueError, match=r"`margin \* scale` .*\[0, 80\]. Received: 90"
    ):
        AdditiveMarginSoftmax(3.0, 30.0)
    with pytest.raises(ValueError, match="one of 'sum', 'max', .*Received: 'mean'"):
        MulticlassHinge("mean")
    with pytest.raises(ValueError, match=r"`margin` .*Received: -1"):
        MulticlassHinge(margin=-1)
