"""Each private part of Keras that the package uses works as the package assumes."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import _keras
from tests.backends import (
    BACKEND,
    every_compiler,
    jax_only,
    not_on_jax,
    not_on_torch,
    tensorflow_only,
)


def private_parts():
    """Yields the names of the functions of `_keras`, and of what it hands on."""
    for node in ast.parse(Path(_keras.__file__).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("keras.src"):
            yield from (alias.asname for alias in node.names if alias.asname)


def told():
    """Returns the parts that a test names which says what is lost without them."""
    tree = ast.parse(Path(__file__).read_text("utf-8"))
    nodes = {node.name: node for node in tree.body if hasattr(node, "name")}
    texts = {name: ast.unparse(node) for name, node in nodes.items()}
    found = set()
    for name, node in nodes.items():
        if (ast.get_docstring(node) or "").startswith("Without "):
            helpers = set(re.findall(r"\w+", texts[name])) & set(texts)
            for text in (texts[helper] for helper in helpers):
                found |= set(re.findall(r"_keras\.(\w+)", text))
    return found


def test_each_private_part_has_a_test_that_says_what_breaks():
    parts = set(private_parts())
    assert {"made_by", "set_keras_mask", "tensorflow"} < parts
    missing = parts - told()
    assert not missing, f"add tests that begin with `Without it,` for {missing}"


class Marked(keras.losses.Loss):
    """Returns the labels as losses, and masks the negative ones."""

    def call(self, y_true, y_pred):
        losses = ops.abs(y_true)
        _keras.set_keras_mask(losses, y_true >= 0)
        return losses


def test_keras_leaves_masked_samples_out_of_the_mean():
    """Without it, a loss would count the samples of `ignore_class`."""
    y = ops.convert_to_tensor([1.0, -7.0, 3.0])
    assert float(Marked()(y, y)) == 2.0


def test_keras_reduces_the_losses_of_the_samples():
    """Without it, a loss would have to reduce, weigh and mask as Keras does."""
    losses, weights = ops.convert_to_tensor([1.0, 2.0, 6.0]), np.array([2.0, 1.0, 1.0])
    for reduction, expected in (("sum_over_batch_size", 2.0), ("sum", 4.0)):
        found = _keras.reduce_weighted_values(
            losses,
            sample_weight=weights,
            mask=ops.convert_to_tensor([True, True, False]),
            reduction=reduction,
            dtype="float32",
        )
        assert float(found) == expected


def test_a_layer_leaves_its_mask_on_its_output():
    """Without it, padding would count in metrics and calibrators."""
    embed = keras.layers.Embedding(3, 2, mask_zero=True)
    mask = _keras.get_keras_mask(embed(np.array([[1, 2, 0]])))
    assert ops.convert_to_numpy(mask).tolist() == [[True, True, False]]
    assert _keras.get_keras_mask(ops.ones(3)) is None


def test_a_symbolic_output_knows_what_made_it():
    """Without it, a model could not be separated from its last layer."""
    x = keras.Input((3,))
    table = keras.layers.ReversibleEmbedding(5, 3)
    made = _keras.made_in(table(x, reverse=True))
    assert made == (table, x, {"reverse": True})


def carried(x):
    y = 2.0 * x
    _keras.set_tensor_attr(y, "_keras_calib_scale", x)
    return _keras.get_tensor_attr(
        ops.convert_to_tensor(y, y.dtype), "_keras_calib_scale"
    )


def test_a_tensor_carries_what_a_layer_tells_a_loss():
    """Without it, a learned scale would get no gradient from the margin."""
    assert float(carried(ops.convert_to_tensor(3.0))) == 3.0
    assert _keras.get_tensor_attr(ops.ones(3), "_keras_calib_scale") is None


@every_compiler
def test_in_a_compiled_step_too(compiler):
    assert float(compiler(carried)(ops.convert_to_tensor(3.0))) == 3.0


@not_on_jax
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_an_activation_leaves_its_logits_on_its_output(activation):
    """Without them, a probability that rounds to 0 or 1 would have no gradient."""
    z = ops.convert_to_tensor([[-200.0, 200.0]])
    p = keras.layers.Activation(activation)(z)
    assert ops.convert_to_numpy(p).tolist() == [[0.0, 1.0]]
    found = ops.convert_to_numpy(_keras.made_by(p)[1])
    assert found.tolist() == [[-200.0, 200.0]]


@jax_only
def test_in_a_jax_trace_none_are_left():
    """If this fails, Keras supports it now: say so in docs/support.md."""
    import jax

    found = []

    @jax.jit
    def step(z):
        found.append(_keras.made_by(keras.activations.softmax(z))[1])
        return z

    step(np.ones((1, 2)))
    assert found == [None]


class Rising(keras.metrics.Metric):
    """A metric whose result rises with every batch."""

    def __init__(self, direction):
        super().__init__(name="rising")
        self.count = self.add_variable((), initializer="zeros", name="count")
        _keras.set_direction(self, direction)

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(1.0)

    def reset_state(self):
        """Keeps counting."""

    def result(self):
        return self.count + 0.0


@pytest.mark.parametrize(("direction", "epochs"), [("up", 4), ("down", 2)])
def test_early_stopping_knows_what_is_better(direction, epochs):
    """Without it, `mode="auto"`, the default, would raise for our metrics."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[Rising(direction)])
    stop = keras.callbacks.EarlyStopping("rising")
    x = np.ones((4, 2))
    history = model.fit(x, x[:, :1], epochs=4, verbose=0, callbacks=[stop])
    assert len(history.epoch) == epochs


@jax_only
def test_a_jax_trace_bakes_in_what_it_is_not_given():
    """Without it, a compiled step could use an old hyperparameter without a warning."""
    import jax

    variable, found = keras.Variable(1.0), []

    @jax.jit
    def alone(x):
        found.append(_keras.is_baked_in(variable))
        return x

    @jax.jit
    def given(x):
        with keras.StatelessScope([(variable, x)]):
            found.append(_keras.is_baked_in(variable))
        return x

    alone(1.0)
    given(1.0)
    assert found == [True, False]
    assert not _keras.is_baked_in(variable), "no trace is running"


def test_a_variable_has_its_value():
    found = _keras.numpy_value(keras.Variable(0.3, dtype="float32"))
    assert isinstance(found, np.ndarray)
    assert found == np.float32(0.3)


@tensorflow_only
def test_in_a_tensorflow_graph_too():
    """Without it, a loss could not be shown or saved inside a step."""
    import tensorflow as tf

    variable, found = keras.Variable(0.3, dtype="float32"), []
    tf.function(lambda: found.append(_keras.numpy_value(variable)))()
    assert found == [np.float32(0.3)]


@jax_only
def test_in_a_jax_trace_it_may_have_none():
    """Without it, `repr(loss)` would raise in a debugger."""
    import jax

    variable, found = keras.Variable(0.3, dtype="float32"), []

    @jax.jit
    def step(x):
        with keras.StatelessScope([(variable, x)]):
            found.append(_keras.numpy_value(variable))
            with pytest.raises(ValueError, match="rate has no value inside a compiled"):
                _keras.known_value("rate", variable)
        return x

    step(1.0)
    assert found == [None]


class Sets(keras.callbacks.Callback):
    """Sets a metric at the second step, and counts the synchronizations of JAX."""

    def __init__(self, variable):
        super().__init__()
        self.variable, self.found = variable, []

    def set_model(self, model):
        super().set_model(model)
        self.fitted = model

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:
            self.found.append(_keras.set_in_state(self.fitted, self.variable, 40.0))
            if BACKEND == "jax":
                self.found.append(self.fitted._jax_state_synced)


def test_a_value_is_set_in_the_state_that_jax_hands_on():
    """Without it, a callback would bring the whole state back at every step."""
    rising = Rising("up")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[rising])
    sets, x = Sets(rising.count), np.ones((3, 2))
    fitting = {"batch_size": 1, "verbose": 0, "callbacks": [sets]}
    history = model.fit(x, x[:, :1], **fitting).history
    on_jax = BACKEND == "jax"
    assert sets.found == ([True, False] if on_jax else [False])
    assert history["rising"] == [42.0 if on_jax else 3.0]
    assert not _keras.set_in_state(model, rising.count, 40.0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (keras.optimizers.schedules.CosineDecay(0.1, 10), True),
        (lambda step: step / 10, True),
        # torch has no trace: Python sees numbers.
        (lambda step: 0.1 if step < 3 else 0.2, BACKEND == "torch"),
        (lambda step: [0.1, 0.2][step], BACKEND == "torch"),
    ],
)
def test_it_is_known_what_can_be_traced(schedule, expected):
    """Without it, a schedule written in Python would raise in the first step."""
    assert _keras.can_be_traced(schedule) == expected


class Asks(keras.layers.Layer):
    """Records whether it was called with symbolic tensors."""

    def call(self, x):
        self.symbolic = _keras.in_symbolic_scope()
        return x


@not_on_torch
def test_keras_infers_shapes_with_symbolic_tensors():
    """Without it, inferring the shapes in `fit` would look like a compiled step."""
    layer = Asks()
    layer(keras.Input((2,)))
    assert layer.symbolic
    layer(np.ones((1, 2)))
    assert not layer.symbolic


def test_tensorflow_is_there_once_it_is_used():
    """Without it, the serving room would import TensorFlow on every backend."""
    code = (
        "import sys; from keras_calib import _keras; "
        "assert 'tensorflow' not in sys.modules; "
        "print(_keras.tensorflow.constant(3).numpy())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "3\n", done.stderr[-2000:]


def test_compiled_metrics_are_known_by_output():
    """Without it, a metric could not be compared with the loss of its output."""
    x = keras.Input((4,))
    outputs = {"a": keras.layers.Dense(2)(x), "b": keras.layers.Dense(3)(x)}
    model = keras.Model(x, outputs)
    error, distance = (
        keras.metrics.MeanSquaredError(),
        keras.metrics.MeanAbsoluteError(),
    )
    model.compile(loss="mse", metrics={"b": [error]}, weighted_metrics={"a": distance})
    model.evaluate(np.ones((2, 4)), {"a": np.ones((2, 2)), "b": np.ones((2, 3))})
    assert _keras.compiled_metrics(model) == [("b", 1, [error]), ("a", 0, [distance])]


@not_on_jax
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("axis", [-1, 1])
def test_it_is_known_which_activation_left_them(activation, dtype, axis):
    """Without it, a binary loss would take a softmax's logits for a sigmoid's."""
    if activation == "softmax":
        layer = keras.layers.Softmax(axis, dtype=dtype)
    else:
        layer = keras.layers.Activation(activation, dtype=dtype)
    z = np.random.default_rng(0).normal(size=(2, 3, 4))

    def made(z):
        found.append(_keras.made_by(layer(z), axis)[0])
        return z

    found = []
    made(ops.convert_to_tensor(z, dtype))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.function(made)(ops.convert_to_tensor(z, dtype))
    else:
        made(ops.convert_to_tensor(z, dtype).requires_grad_())
    assert found == [{activation}] * 2


@pytest.mark.skipif(BACKEND != "torch", reason="tests Keras's division on torch")
def test_keras_divides_in_float32_on_torch():
    """If this fails, drop the patch in conftest.py, and say so in `CalibrationLoss`."""
    one = ops.ones((), "float64")
    assert keras.backend.standardize_dtype(one.dtype) == "float64"
    third = ops.divide_no_nan(one, 3.0 * one)
    assert keras.backend.standardize_dtype(third.dtype) == "float32"
