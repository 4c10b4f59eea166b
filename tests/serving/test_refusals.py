"""What cannot be served is refused, before any work where that can be."""

import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_calib.serving import export, verify
from keras_calib.serving.record import Record
from tests.backends import tensorflow_only
from tests.serving.tools import IMAGES, ask, assert_answers

pytestmark = tensorflow_only


class Through(keras.layers.Layer):
    """A layer that calls a function."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def python(x):
    return tf.ensure_shape(tf.py_function(lambda a: a, [x], x.dtype), x.shape)


BROKEN = {
    "runs Python": python,
    "runs Python: a server": lambda x: tf.ensure_shape(
        tf.numpy_function(lambda a: a, [x], x.dtype), x.shape
    ),
    "must be compiled by XLA": tf.function(lambda x: x * 1.0, jit_compile=True),
}


def then(function):
    x = keras.Input((4,), name="x")
    y = Through(function)(x)
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(y))


class DropoutLeftOn(keras.layers.Dropout):
    def call(self, x, training=None):
        return super().call(x, training=True)


def with_dropout(layer, **kwargs):
    x = keras.Input((4,), name="x")
    y = keras.layers.Dense(3, activation="softmax")(layer(0.5)(x, **kwargs))
    return keras.Model(x, y)


@pytest.mark.parametrize("reason", BROKEN)
def test_what_a_server_refuses_is_refused_here(tmp_path, reason):
    with pytest.raises(ValueError, match=reason):
        export(then(BROKEN[reason]), tmp_path / "new")
    assert not list(tmp_path.iterdir()), "it left files behind"


@pytest.mark.parametrize(
    "model",
    [
        lambda: with_dropout(DropoutLeftOn),
        lambda: then(lambda x: x + tf.random.normal(tf.shape(x))),
    ],
)
def test_random_models_are_refused(tmp_path, model):
    with pytest.raises(ValueError, match="dropout or noise is left on"):
        export(model(), tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_dropout_that_a_functional_model_leaves_on_is_switched_off(tmp_path):
    model = with_dropout(keras.layers.Dropout, training=True)
    x = IMAGES.ravel()[:20].reshape(5, 4)
    folder = export(model, tmp_path)
    assert_answers(ask(folder, x=x), np.asarray(model(x, training=False)))


def test_a_function_that_differs_from_the_model_is_refused(tmp_path):
    calls = []

    def drifting(x):  # each trace gives another function
        calls.append(x)
        return x + float(len(calls))

    with pytest.raises(ValueError, match="differs from the model by more than"):
        export(then(drifting), tmp_path)
    assert not list(tmp_path.iterdir())


def test_logits_mistaken_for_probabilities_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="from_logits=True"):
        export(model, tmp_path)


def ends_in(head, units):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, head)])


@pytest.mark.parametrize("head, units", [("softmax", 3), ("sigmoid", 1)])
def test_probabilities_mistaken_for_logits_are_refused(tmp_path, head, units):
    with pytest.raises(ValueError, match="from_logits=False"):
        export(ends_in(head, units), tmp_path / "new", from_logits=True)
    assert not list(tmp_path.iterdir())


def test_probabilities_of_an_unknown_head_are_no_logits(tmp_path):
    model = then(lambda x: x)
    y = Through(lambda p: p / tf.reduce_sum(p, -1, keepdims=True))(model.output)
    with pytest.raises(ValueError, match="from_logits=False.*rows sum to 1"):
        export(keras.Model(model.inputs, y), tmp_path, from_logits=True)


def test_a_softmax_of_one_unit_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="softmax over axis -1"):
        with pytest.raises(ValueError, match="use a sigmoid"):
            export(ends_in("softmax", 1), tmp_path)


def test_nan_is_refused(tmp_path):
    model = then(lambda x: tf.math.log(-tf.abs(x)))
    with pytest.raises(ValueError, match="typical `inputs`"):
        export(model, tmp_path)


def subclassed():
    class Model(keras.Model):
        def call(self, x):
            return x

    return Model()


def functional(function, *shapes, batch_size=None):
    inputs = [keras.Input(shape, batch_size=batch_size) for shape in shapes]
    return keras.Model(inputs, function(*inputs))


def named(name):
    x = keras.Input((3,), name=name)
    return keras.Model(x, x)


UNFIT = {
    "letters, digits and underscores": lambda: named("my-input"),
    "letters, .* Received: \\['class'\\]": lambda: named("class"),
    "letters, .* Received: \\['é'\\]": lambda: named("é"),
    "must have inputs": subclassed,
    "one output": lambda: functional(lambda x: [x, x], (3,)),
    "free batch axis": lambda: functional(lambda x: x, (3,), batch_size=2),
    "output of shape \\(\\)": lambda: functional(lambda x: keras.ops.mean(x), (3,)),
    "output of shape \\(None,\\)": lambda: functional(
        lambda x: keras.ops.mean(x, -1), (3,)
    ),
    "output of shape \\(3,\\)": lambda: functional(
        lambda x: keras.ops.mean(x, 0), (3,)
    ),
    "output of shape \\(None, None\\)": lambda: functional(lambda x: x, (None,)),
}


@pytest.mark.parametrize("reason", UNFIT)
def test_models_that_cannot_be_served_are_refused(tmp_path, reason):
    with pytest.raises(ValueError, match=reason):
        export(UNFIT[reason](), tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "kwargs, reason",
    [
        ({"class_names": ["a"]}, "must be 5 distinct names"),
        ({"class_names": ["a"] * 5}, "must be 5 distinct names"),
        ({"class_names": "abcde"}, "must be 5 distinct names, a list of strings"),
        ({"class_names": range(5)}, "must be 5 distinct names, a list of strings"),
        *(({"version": v}, "whole number") for v in (0, -1, "1", 1.5, 1.0, True)),
        ({"version": 2**63}, "whole number in"),
        ({"version": 2**70}, "whole number in"),
        ({"from_logits": "no"}, "`from_logits` must be True or False"),
        ({"from_logits": None}, "`from_logits` must be True or False"),
        ({"inputs": {"picture": IMAGES}}, r"names .* \['image'\]. Rec.*picture"),
        ({"inputs": np.ma.masked_array(IMAGES, IMAGES > 1)}, "masked entries"),
        ({"inputs": [IMAGES, IMAGES]}, "each input of the model, 1. Received: 2"),
        ({"inputs": IMAGES[:, :5]}, "must have shape"),
        ({"inputs": IMAGES[:0]}, "must have at least one row"),
        ({"inputs": 3.0}, "must have shape"),
        ({"inputs": np.full(IMAGES.shape, "text")}, "'image' must be float32"),
    ],
)
def test_wrong_arguments(model, tmp_path, kwargs, reason, monkeypatch):
    """They are found before any work."""
    monkeypatch.setattr("keras_calib.serving.record.Record.of", pytest.fail)
    with pytest.raises(ValueError, match=reason):
        export(model, tmp_path, **kwargs)
    assert not list(tmp_path.iterdir())


def test_inputs_have_as_many_rows(tmp_path):
    model = functional(lambda a, b: keras.ops.softmax(a + b), (3,), (3,))
    with pytest.raises(ValueError, match="the same number of rows.*input_1.: 4.*: 5"):
        export(model, tmp_path, inputs=[np.ones((4, 3)), np.ones((5, 3))])


def test_inputs_by_name_are_taken_in_the_order_of_the_model(tmp_path):
    b, a = keras.Input((3,), name="b"), keras.Input((3,), name="a")
    model = keras.Model([b, a], keras.ops.softmax(b - 2.0 * a))
    given = {"a": np.eye(3, dtype="float32"), "b": np.ones((3, 3), "float32")}
    folder = export(model, tmp_path, inputs=given)
    kept = Record.read(folder)
    for name, x in given.items():
        np.testing.assert_array_equal(kept.inputs[name], x)
    assert_answers(ask(folder, **given), np.asarray(model([given["b"], given["a"]])))


@pytest.mark.parametrize("path", [None, 3, ["models"]])
def test_what_is_no_path(model, path):
    with pytest.raises(TypeError):
        export(model, path)


@pytest.mark.parametrize("path", ["gs://bucket/model", b"s3://bucket/model", ""])
def test_a_remote_folder_is_refused(model, path):
    with pytest.raises(ValueError, match="on this machine"):
        export(model, path)


@pytest.mark.parametrize("taken", ["base", "file", "version"])
def test_what_is_taken_is_found_before_any_work(model, tmp_path, taken, monkeypatch):
    monkeypatch.setattr("keras_calib.serving.record.Record.of", pytest.fail)
    if taken == "version":
        (tmp_path / "3").touch()
    else:
        (tmp_path / "file").touch()
    before = os.listdir(tmp_path)
    path = {"base": "file", "file": "file/under/it", "version": ""}[taken]
    with pytest.raises(OSError):
        export(model, tmp_path / path, version=3)
    assert os.listdir(tmp_path) == before


@pytest.mark.parametrize("kind", [os.fsencode, os.fspath, pathlib.Path])
def test_any_kind_of_path(model, tmp_path, kind):
    folder = export(model, kind(tmp_path / "é"), version=3)
    assert folder == tmp_path / "é" / "3"
    assert verify(kind(folder))["label"] == 0
