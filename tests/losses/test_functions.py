"""The function form of every loss: the values of its class, and no state."""

import functools
import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import losses
from keras_calib.arguments import default_name
from tests.backends import every_compiler, not_on_torch, tensorflow_only
from tests.losses.table import ALL, BINARY, OF_A_BATCH
from tests.losses.tools import GRADIENT, value_and_gradient

TABLE = ALL | {f"binary_{name}": row for name, row in BINARY.items()} | OF_A_BATCH
every_loss = pytest.mark.parametrize("name", TABLE)
# One row of each class: test_common.py compiles the class with every row.
ONE_OF_EACH = {row.loss: name for name, row in TABLE.items()}.values()


def of_logits(row):
    """Returns the function form with the arguments of the row."""
    takes = inspect.signature(row.function).parameters
    of = {"from_logits": True} if "from_logits" in takes else {}
    return functools.partial(row.function, **row.arguments, **of)


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients_are_those_of_the_class(name, dtype):
    row = TABLE[name]
    y, z = row.batch()
    loss = row(from_logits=True, dtype=dtype, reduction=None)
    expected = value_and_gradient(loss, y, z, dtype)
    found = value_and_gradient(of_logits(row), y, z, dtype)
    assert found[0].shape == expected[0].shape == y.shape[: found[0].ndim]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@every_loss
def test_lists_arrays_and_tensors(name):
    row = TABLE[name]
    y, z = row.batch()
    z = z.astype("float32")
    found = [
        ops.convert_to_numpy(of_logits(row)(labels, predictions))
        for labels, predictions in (
            (y, z),
            (y.tolist(), z.tolist()),
            (ops.convert_to_tensor(y), ops.convert_to_tensor(z)),
        )
    ]
    assert found[0].dtype == "float32"
    # A list is float64 on JAX where that is enabled.
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found[0], found[2])
    half = of_logits(row)(y, ops.convert_to_tensor(z, "bfloat16"))
    assert keras.backend.standardize_dtype(half.dtype) == "float32"


@pytest.mark.thorough
@every_compiler
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_inside_a_compiled_step(name, compiler):
    row = TABLE[name]
    y, z = (ops.convert_to_tensor(x, "float32") for x in row.batch())
    expected = GRADIENT(of_logits(row), y, z)
    found = compiler(functools.partial(GRADIENT, of_logits(row)))(y, z)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-7)


@every_compiler
@pytest.mark.parametrize("name", ["gamma", "binary_gamma", "exact"])
def test_a_hyperparameter_may_be_a_traced_tensor(name, compiler):
    row = TABLE[name]
    y, z = row.batch()
    moving = "sigma" if "sigma" in row.arguments else "gamma"
    rest = {k: v for k, v in row.arguments.items() if k != moving}

    def call(value):
        return row.function(y, z, from_logits=True, **{moving: value}, **rest)

    found = compiler(call)(ops.convert_to_tensor(0.3, "float64"))
    np.testing.assert_allclose(found, call(0.3), rtol=1e-12, atol=1e-15)


@every_loss
def test_signature_and_docstring_are_those_of_the_class(name):
    row = TABLE[name]
    of_class = inspect.signature(row.loss).parameters
    first, second, *own = inspect.signature(row.function).parameters
    assert (first, second) == ("y_true", "y_pred")
    left_out = set(of_class) - set(own)
    stateful = {"momentum", "counts"} & set(of_class)
    assert left_out == {"reduction", "name", "dtype"} | stateful
    doc = inspect.getdoc(row.function)
    for argument in (first, second, *own):
        assert f"    {argument}: " in doc
    assert f"function form of `{row.loss.__name__}`" in doc
    assert row.function.__name__ == default_name(row.loss)
    assert getattr(losses, row.function.__name__) is row.function
    with pytest.raises(TypeError, match="reduction"):
        row.function([0], [[0.0, 1.0]], reduction="sum", **row.arguments)


def test_gamma_is_a_real_default():
    y, p = [0, 1], [[0.3, 0.7], [0.6, 0.4]]
    np.testing.assert_array_equal(
        ops.convert_to_numpy(losses.gamma_ce(y, p)),
        ops.convert_to_numpy(losses.gamma_ce(y, p, gamma=0.1)),
    )
    with pytest.raises(ValueError, match=r"`gamma` must be a number in \[0, 1\]"):
        losses.gamma_ce(y, p, gamma=1.5)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=not_on_torch)])
@pytest.mark.parametrize("function", [losses.gamma_ce, losses.focal_ce])
def test_a_model_trains_and_is_saved(tmp_path, function, jit_compile):
    model = keras.Sequential(
        [keras.Input((6, 5)), keras.layers.Dense(5, activation="softmax")]
    )
    model.compile("adam", loss=function, jit_compile=jit_compile)
    y, z = ALL["gamma"].batch()
    model.fit(z, y, epochs=2, verbose=0)
    expected = model.evaluate(z, y, verbose=0)
    each = function(y, model.predict(z, verbose=0))
    assert expected == pytest.approx(float(ops.mean(each)), rel=1e-5)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.loss is function
    assert loaded.evaluate(z, y, verbose=0) == expected


def test_classes_on_another_axis():
    y, z = ALL["gamma"].batch()
    moved = losses.gamma_ce(y, z.swapaxes(1, 2), from_logits=True, axis=1)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(moved),
        ops.convert_to_numpy(losses.gamma_ce(y, z, from_logits=True)),
    )


@tensorflow_only
def test_gamma_may_be_a_variable_or_move_in_a_compiled_step():
    import tensorflow as tf

    y, p = np.array([0]), np.array([[0.3, 0.7]], "float32")
    expected = float(losses.gamma_ce(y, p, 0.3)[0])
    assert float(losses.gamma_ce(y, p, keras.Variable(0.3))[0]) == pytest.approx(
        expected
    )
    gamma = losses.GammaCE(0.1).gamma
    step = tf.function(lambda y, p: losses.gamma_ce(y, p, gamma))
    step(y, p)
    gamma.assign(0.3)
    assert float(step(y, p)[0]) == pytest.approx(expected)
