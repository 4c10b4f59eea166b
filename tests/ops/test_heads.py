"""Heads and shapes that a loss or metric would misread are refused, or read right."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import losses, metrics
from tests.backends import BACKEND, every_compiler, not_on_jax, tensorflow_only

CLASSES = [losses.GammaCE(0.1), metrics.ExpectedCalibrationError()]
BINARY = [losses.GammaBCE(0.1), metrics.MultilabelECE()]


def logits():
    return np.random.default_rng(0).normal(size=(8, 2)).astype("float32")


def labels():
    return np.random.default_rng(1).integers(0, 2, 8)


def one_hot():
    return np.eye(2, dtype="float32")[labels()]


def read(thing, y, p):
    if isinstance(thing, keras.losses.Loss):
        return thing(y, p)
    thing.reset_state()
    thing.update_state(y, p)
    return thing.result()


def model(activation, units=2):
    layers = [keras.Input((2,)), keras.layers.Dense(units, activation)]
    found = keras.Sequential(layers)
    found.layers[0].set_weights([logits()[:2, :units], np.zeros(units)])
    return found


@not_on_jax
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("shape", [(8, 2), (2, 4, 2)])
def test_probabilities_are_no_logits(activation, shape):
    z = ops.convert_to_tensor(logits().reshape(shape))
    p = getattr(keras.activations, activation)(z)
    y, two = labels().reshape(shape[:-1]), one_hot().reshape(shape)
    for thing, given in (
        (losses.GammaCE(0.1, from_logits=True), y),
        (losses.GammaBCE(0.1, from_logits=True), two),
        (metrics.ExpectedCalibrationError(from_logits=True), y),
        (metrics.BinaryECE(from_logits=True), y),
    ):
        with pytest.raises(ValueError, match="use from_logits=False, or a head"):
            read(thing, given, p)


def wrong_heads(make):
    p = {name: getattr(keras.activations, name) for name in ("softmax", "sigmoid")}
    z = logits()
    for thing in BINARY:
        with pytest.raises(ValueError, match="from a softmax.* needs a sigmoid: use"):
            make(lambda z, thing=thing: read(thing, one_hot(), p["softmax"](z)))(z)
    for thing in CLASSES:
        with pytest.raises(ValueError, match="from a sigmoid.* needs a softmax: use"):
            make(lambda z, thing=thing: read(thing, labels(), p["sigmoid"](z)))(z)


@not_on_jax
def test_a_head_of_the_other_kind_is_refused():
    wrong_heads(lambda f: lambda z: f(ops.convert_to_tensor(z)))


@tensorflow_only
@every_compiler
def test_in_a_graph_too(compiler):
    wrong_heads(compiler)


@pytest.mark.skipif(BACKEND != "torch", reason="tests torch's gradients")
def test_on_torch_with_gradients_too():
    wrong_heads(lambda f: lambda z: f(ops.convert_to_tensor(z).requires_grad_()))


@not_on_jax
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_fit_refuses_it(run_eagerly):
    softmax = model("softmax")
    softmax.compile("sgd", losses.GammaBCE(0.1), run_eagerly=run_eagerly)
    with pytest.raises(ValueError, match="from a softmax"):
        softmax.fit(logits(), one_hot(), verbose=0)


def test_a_softmax_unknown_to_it_is_read_as_it_is():
    z = ops.convert_to_tensor(logits())
    p = ops.exp(z) / ops.sum(ops.exp(z), axis=-1, keepdims=True)
    found = float(losses.GammaBCE(0.1)(one_hot(), p))
    q = np.where(one_hot() == 1, ops.convert_to_numpy(p), 1 - ops.convert_to_numpy(p))
    gamma = 0.1
    expected = np.mean(-np.log(gamma + (1 - gamma) * q) / (1 - gamma))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_the_right_head_is_read(activation, run_eagerly):
    binary = activation == "sigmoid"
    loss = losses.GammaBCE(0.1) if binary else losses.GammaCE(0.1)
    y = one_hot() if binary else labels()
    found = model(activation)
    found.compile("sgd", loss, metrics=[metrics.BrierScore()], run_eagerly=run_eagerly)
    if binary:
        found.compile("sgd", loss, metrics=[metrics.MultilabelECE()])
    p = found.predict(logits(), verbose=0)
    value = found.evaluate(logits(), y, verbose=0)[0]
    assert value == pytest.approx(float(loss(y, p)), rel=1e-5)


@not_on_jax
@pytest.mark.parametrize("z", [0.0, 200.0])
def test_where_both_activations_agree_either_is_right(z):
    """At zero both are 1/2 for two classes, and far from it both are 0 and 1."""
    z = ops.convert_to_tensor([[-z, z]])
    for activation in (keras.activations.softmax, keras.activations.sigmoid):
        for loss, y in ((losses.GammaCE(0.1), [1]), (losses.GammaBCE(0.1), [[0, 1]])):
            expected = float(loss(y, ops.convert_to_numpy(activation(z))))
            assert float(loss(y, activation(z))) == pytest.approx(expected, abs=1e-6)


@not_on_jax
def test_the_first_sample_may_be_of_either():
    z = np.concatenate([np.zeros((1, 2), "float32"), logits()])
    p = keras.activations.sigmoid(ops.convert_to_tensor(z))
    with pytest.raises(ValueError, match="from a sigmoid"):
        losses.GammaCE(0.1)(np.append(0, labels()), p)


@pytest.mark.parametrize("thing", CLASSES)
def test_one_probability_a_sample_is_no_sample_of_classes(thing):
    with pytest.raises(ValueError, match=r"\(N,\) is one probability per sample"):
        read(thing, np.zeros(5, int), np.full(5, 0.5, "float32"))


def test_in_a_set_too():
    both = metrics.CalibrationMetrics()
    with pytest.raises(ValueError, match="one probability per sample"):
        both.update_state(np.zeros(5, int), np.full(5, 0.5, "float32"))


def test_one_probability_a_sample_has_its_weight():
    p = np.array([0.2, 0.7, 0.4], "float32")
    y, weight = np.array([0.0, 1.0, 1.0]), np.array([1.0, 0.0, 3.0])
    for reduction in ("mean", "sum"):
        loss = losses.GammaBCE(0.1, label_reduction=reduction)
        expected = float(loss(y[:, None], p[:, None], weight))
        assert float(loss(y, p, weight)) == pytest.approx(expected, rel=1e-6)
        found = loss.call(ops.convert_to_tensor(y), ops.convert_to_tensor(p))
        assert tuple(found.shape) == (3,)
    ece = metrics.MultilabelECE()
    ece.update_state(y, p)
    assert ece.statistics()[0].total == 3


def test_weights_of_size_1_along_positions():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), (2, 4)).astype("float32")
    y, weight = rng.integers(-1, 3, (2, 4)), np.array([[1.0], [3.0]], "float32")
    loss = losses.GammaCE(0.1, ignore_class=-1)
    expected = float(loss(y, p, np.repeat(weight, 4, 1)))
    assert float(loss(y, p, weight)) == pytest.approx(expected, rel=1e-6)
    # A mask is multiplied into a copy of them.
    assert weight.tolist() == [[1.0], [3.0]]


@tensorflow_only
@pytest.mark.parametrize("columns", [1, 3])
def test_labels_of_unknown_rank(columns):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    p = rng.random((4, columns)).astype("float32")
    y = rng.integers(0, 2, (4, columns)).astype("float32")
    things = [losses.GammaBCE(0.1), metrics.MultilabelECE()]
    for thing in things + [metrics.BinaryECE(), metrics.BrierScore()] * (columns == 1):
        expected = float(read(thing, y, p))
        call = thing if isinstance(thing, keras.losses.Loss) else thing.update_state
        if call is not thing:
            thing.reset_state()
        specs = [tf.TensorSpec(None), tf.TensorSpec([None, columns])]
        value = tf.function(call, input_signature=specs)(y, p)
        found = value if call is thing else thing.result()
        assert float(found) == pytest.approx(expected, rel=1e-6)


@tensorflow_only
@pytest.mark.parametrize("thing", [*CLASSES, *BINARY, metrics.BinaryECE()])
@pytest.mark.parametrize("axis", [-1, 1])
def test_an_unknown_rank_that_nothing_gives_is_said(thing, axis):
    import tensorflow as tf

    of_classes = thing in CLASSES
    thing = type(thing).from_config({**thing.get_config(), "axis": axis})
    call = thing if isinstance(thing, keras.losses.Loss) else thing.update_state
    specs = [tf.TensorSpec([None]), tf.TensorSpec(None)]
    with pytest.raises(ValueError, match="`y_pred` must have a static rank"):
        tf.function(call, input_signature=specs).get_concrete_function()
    if of_classes:
        specs = [tf.TensorSpec(None), tf.TensorSpec([None, 3, 3])]
        with pytest.raises(ValueError, match="`y_true` must have a static rank"):
            tf.function(call, input_signature=specs).get_concrete_function()


@tensorflow_only
@pytest.mark.parametrize("thing", CLASSES)
def test_so_it_is_in_a_batch_of_unknown_size(thing):
    import tensorflow as tf

    call = thing if isinstance(thing, keras.losses.Loss) else thing.update_state
    specs = [tf.TensorSpec([None]), tf.TensorSpec([None])]
    with pytest.raises(ValueError, match="one probability per sample"):
        tf.function(call, input_signature=specs).get_concrete_function()
