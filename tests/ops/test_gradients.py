"""Tests of functions with a gradient of their own, in each platform's form."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import losses
from keras_calib.ops import exponentials, gradients, rows
from keras_calib.ops.gradients import entry
from tests.backends import jax_only
from tests.losses.tools import GRADIENT, value_and_gradient

FORMS = {"cpu": rows._scattered, "accelerator": rows._compared}


@pytest.fixture(params=["cpu", "accelerator", "tpu"])
def form(request, monkeypatch):
    """Lets every kernel take one form, on whatever machine."""

    def take(cpu, accelerator, *tensors, tpu=None):
        forms = {"cpu": cpu, "accelerator": accelerator, "tpu": tpu or accelerator}
        return forms[request.param](*map(ops.convert_to_tensor, tensors))

    for module in (rows, gradients, exponentials):
        monkeypatch.setattr(module, "by_platform", take)
    return request.param


@pytest.mark.parametrize("name", FORMS)
def test_one_entry_of_each_row_is_replaced(name):
    x = np.arange(12, dtype="float32").reshape(3, 4)
    index, value = np.array([3, 0, 2], "int32"), np.array([-1.0, -2, -3], "float32")
    found = FORMS[name](*map(ops.convert_to_tensor, (x, index, value)))
    x[np.arange(3), index] = value
    assert np.array_equal(ops.convert_to_numpy(found), x)


def batch(soft):
    z = np.random.default_rng(0).normal(0.0, 4.0, (6, 5)).astype("float32")
    z[0] += [20.0, 0, 0, 0, 0]  # the true class is sure
    y = np.array([0, 1, 2, 3, 4, 0])
    return z, (0.9 * np.eye(5)[y] + 0.02).astype("float32") if soft else y


KERNELS = {
    "hard": (lambda: losses.GammaCE(0.1, from_logits=True), False),
    "smoothed": (lambda: losses.LabelSmoothingCE(0.1, from_logits=True), False),
    "soft": (lambda: losses.GammaCE(0.1, from_logits=True), True),
    "hinge": (lambda: losses.MulticlassHinge("sum", margin=1.0), False),
    "exact": (lambda: losses.ExpectedAccuracyLoss(from_logits=True), False),
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_each_form_is_right(form, kernel):
    make, soft = KERNELS[kernel]
    z, y = batch(soft)
    found = value_and_gradient(make(), y, z, "float32")
    expected = value_and_gradient(make(), y, z, "float64")
    for ours, exact in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_logit_gives_nan(form, bad):
    z, y = batch(soft=False)
    z[1, 3], z[2], z[3, 0] = bad, -float("inf"), -float("inf")
    loss = losses.GammaCE(0.1, from_logits=True, reduction="none")
    found = ops.convert_to_numpy(loss(y, z))
    assert np.array_equal(np.isnan(found), [False, True, True, False, False, False])


def test_the_gradient_of_an_entry(form):
    x = np.arange(6.0).reshape(2, 3).astype("float32")
    index = np.array([2, 0], "int32")

    def loss(y, x):
        return ops.sum(entry(x, ops.cast(y, "int32")) ** 2)

    value, gradient = value_and_gradient(loss, index, x, "float32")
    assert value == 13.0
    assert np.array_equal(gradient, [[0, 0, 4], [6, 0, 0]])


@jax_only
@pytest.mark.parametrize("kernel", ["hard", "smoothed", "soft"])
def test_jax_keeps_nothing_but_the_arguments(kernel):
    import jax

    make, soft = KERNELS[kernel]
    y = jax.ShapeDtypeStruct((64, 50), "float32") if soft else np.zeros(64, "int32")
    z, loss = jax.ShapeDtypeStruct((64, 50), "bfloat16"), make()
    kept = jax.eval_shape(lambda y, z: jax.vjp(lambda z: loss(y, z), z)[1], y, z)
    large = [x for x in jax.tree.leaves(kept) if x.size > 4 * 64]
    assert sorted(str(x.dtype) for x in large) == ["bfloat16"] + ["float32"] * soft


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_half_precision_is_read_as_it_is(kernel, dtype):
    """The loss is that of the rounded logits, and its gradient has their dtype."""
    make, soft = KERNELS[kernel]
    z, y = batch(soft)
    half = ops.convert_to_tensor(z, dtype)
    rounded = ops.convert_to_numpy(ops.cast(half, "float32"))
    loss = make()
    value, gradient = GRADIENT(loss, ops.convert_to_tensor(y), half)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert keras.backend.standardize_dtype(gradient.dtype) == dtype
    expected, exact = value_and_gradient(loss, y, rounded, "float32")
    np.testing.assert_allclose(float(value), expected, rtol=1e-6)
    gradient = ops.convert_to_numpy(ops.cast(gradient, "float32"))
    np.testing.assert_allclose(gradient, exact, rtol=1e-2, atol=1e-4)
