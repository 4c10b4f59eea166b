"""What a backend gets wrong without an error, and keras_calib must avoid.

The numbers of each engine are tested in test_engines.py, the failures of Keras's own
`fit` in test_keras_fit.py, a loss's per-sample values in tests/losses/test_common.py,
and resuming and loading in tests/callbacks.
"""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import BrierScore, ExpectedCalibrationError, GammaCE, check
from keras_calib._keras import set_keras_mask
from keras_calib.callbacks import GammaScheduler, linear
from tests.backends import BACKEND, tensorflow_only
from tests.callbacks.tools import X, Y, compiled
from tests.metrics.reference import TABLE, data


def standing_still(**kwargs):
    """Returns a model in which only gamma can change, and its logits."""
    model = compiled(
        GammaCE(0.0, from_logits=True), optimizer=keras.optimizers.SGD(0.0), **kwargs
    )
    return model, model.predict(X, verbose=0)


@pytest.mark.parametrize("name", TABLE)
def test_counters_add_up_over_replicas(name):
    """Only float sums that are read on demand stay right over replicas."""
    metric = TABLE[name].make()
    y, p, w = data(TABLE[name].kind, n=8)
    metric.update_state(y, p, w)  # some create their counters here
    assert metric.variables
    for variable in metric.variables:
        assert variable.aggregation == "sum"
        assert variable.synchronization == "on_read"
        assert variable.dtype == "float32"


def test_gamma_is_no_weight(tmp_path):
    """Neither `.weights.h5` nor the model's variables hold it."""
    model = compiled(GammaCE(0.3, from_logits=True))
    model.fit(X, Y, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    loaded = compiled(GammaCE(0.7, from_logits=True))
    loaded.load_weights(tmp_path / "m.weights.h5")
    assert float(loaded.loss.gamma) == 0.7
    assert not any("gamma" in v.path for v in model.weights)


WAYS = [{}, {"run_eagerly": True}]
if BACKEND != "torch":
    WAYS += [{"jit_compile": True}, {"jit_compile": False}, {"steps_per_execution": 4}]


@pytest.mark.parametrize("options", WAYS)
def test_training_validation_and_evaluate_see_gamma(options):
    """A Python attribute, or a variable outside JAX's state, would become constant."""
    model, z = standing_still(**options)

    def loss(gamma):
        expected = float(GammaCE(gamma, from_logits=True)(Y, z))
        return pytest.approx(expected, rel=1e-5)

    fitting = {"batch_size": 10, "verbose": 0, "validation_data": (X, Y)}
    for start in (0.0, 0.1):
        callbacks = [GammaScheduler(linear(start, 0.9))]
        history = model.fit(X, Y, epochs=2, callbacks=callbacks, **fitting).history
        assert history["loss"] == [loss(start), loss(0.9)]
        assert history["val_loss"] == [loss(start), loss(0.9)]
    model.loss.gamma.assign(0.3)
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["loss"] == loss(0.3)


def test_a_functional_model_loads_after_annealing(tmp_path):
    """Assigning a variable to an attribute of the model would make it unloadable."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    loss = GammaCE(0.0, from_logits=True)
    model.compile("sgd", loss, metrics=[loss.gamma])
    model.fit(X, Y, verbose=0, callbacks=[GammaScheduler(linear(0.0, 0.5))])
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert float(loaded.loss.gamma) == 0.5
    assert len(loaded.weights) == len(model.weights)
    np.testing.assert_array_equal(
        loaded.predict(X, verbose=0), model.predict(X, verbose=0)
    )


def test_a_ragged_last_batch_has_the_gamma_of_its_step():
    """JAX traces it again, and a gamma baked into the trace would differ there.

    No other callback here copies the state of a JAX step back before gamma is set.
    """
    model, z = standing_still()
    batches = [slice(i, i + 32) for i in (0, 32, 64)]
    history = model.fit(
        X,
        Y,
        batch_size=32,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[GammaScheduler(linear(0.0, 1.0), unit="step")],
    ).history
    steps = np.linspace(0, 1, 6).reshape(2, 3)
    for gammas, found in zip(steps, history["loss"], strict=True):
        sums = [
            len(Y[rows]) * float(GammaCE(gamma, from_logits=True)(Y[rows], z[rows]))
            for gamma, rows in zip(gammas, batches, strict=True)
        ]
        assert found == pytest.approx(sum(sums) / len(Y), rel=1e-5)


def test_a_result_is_no_view_of_the_state():
    """At the next step JAX reuses the state's buffer, which would destroy the log."""
    gamma = GammaCE(0.1).gamma
    before = gamma.result()
    gamma.assign(0.9)
    assert float(before) == np.float32(0.1)
    model, _ = standing_still()
    callbacks = [GammaScheduler(linear(0.2, 0.4))]
    fitting = {"epochs": 2, "verbose": 0, "validation_data": (X, Y)}
    history = model.fit(X, Y, callbacks=callbacks, **fitting).history
    assert history["val_gamma"] == pytest.approx([0.2, 0.4], rel=1e-6)


def test_val_loss_falls_with_gamma_whatever_the_model_does():
    """This model learns nothing, so monitor a metric that does not depend on gamma."""
    model, _ = standing_still(metrics=[BrierScore(from_logits=True)])
    callbacks = [GammaScheduler(linear(0.0, 0.9))]
    fitting = {"epochs": 3, "verbose": 0, "validation_data": (X, Y)}
    history = model.fit(X, Y, callbacks=callbacks, **fitting).history
    assert np.all(np.diff(history["val_loss"]) < -0.01)
    assert len(set(history["val_brier_score"])) == 1


def test_weights_are_not_changed_in_place():
    """On torch, Keras multiplies a loss's mask into its sample weights."""
    z = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    y, kept = np.array([0, 1, 2, 0, 1, 2]), np.arange(6) < 4
    given = np.arange(1, 7, dtype="float32")
    metric = ExpectedCalibrationError(from_logits=True, ignore_class=0)
    for weights in (given.copy(), ops.convert_to_tensor(given)):
        masked = ops.convert_to_tensor(z)
        set_keras_mask(masked, ops.convert_to_tensor(kept))
        for each in (GammaCE(0.1, from_logits=True, ignore_class=0), metric):
            each(y, masked, sample_weight=weights)
            np.testing.assert_array_equal(ops.convert_to_numpy(weights), given)


def test_the_metrics_see_the_weights_as_they_were_given():
    """The loss comes first, and its mask must not change the weights they get."""
    model, _ = standing_still()
    loss = GammaCE(0.1, from_logits=True, ignore_class=0)
    brier = BrierScore(from_logits=True, ignore_class=0)
    model.compile(keras.optimizers.SGD(0.0), loss, weighted_metrics=[brier])
    w = np.linspace(0.5, 2.0, len(Y)).astype("float32")
    given = w.copy()
    fitting = {"batch_size": 10, "shuffle": False, "verbose": 0}
    history = model.fit(X, Y, sample_weight=w, epochs=3, **fitting).history
    np.testing.assert_array_equal(w, given)
    brier.reset_state()
    brier.update_state(Y, model.predict(X, verbose=0), given)
    expected = [float(brier.result())] * 3
    assert history["brier_score"] == pytest.approx(expected, rel=1e-5)


def test_a_float16_softmax_stalls_where_logits_are_unknown():
    """The gradient 1 / p of an improbable class overflows, and `check` warns.

    TensorFlow and torch find the logits behind the softmax, and learn.
    """
    x, y = np.eye(4, dtype="float32")[np.arange(64) % 4], np.arange(1, 65) % 4

    def fit(from_logits):
        head = keras.layers.Dense(
            4, None if from_logits else "softmax", dtype="mixed_float16"
        )
        model = keras.Sequential([keras.Input((4,)), head])
        model.set_weights([12 * np.eye(4), np.zeros(4)])  # confident and wrong
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0))
        model.compile(optimizer, GammaCE(1e-7, from_logits=from_logits))
        p = model(x)
        losses = model.fit(x, y, batch_size=16, epochs=3, verbose=0).history["loss"]
        return p, losses[-1] - losses[0], float(optimizer.dynamic_scale)

    z, change, scale = fit(from_logits=True)
    check(y, z, from_logits=True, gamma=1e-7)
    assert change < -0.1
    assert scale == 2**15
    p, change, scale = fit(from_logits=False)
    with pytest.warns(UserWarning, match=r"training stalls.*dtype='float32'"):
        check(y, p, gamma=1e-7)
    stalls = BACKEND == "jax"
    assert change == 0 if stalls else change < -0.1
    assert scale < 2**15 if stalls else scale == 2**15


@pytest.mark.skipif(BACKEND != "torch", reason="tests torch's trainer")
def test_torch_refuses_several_steps_an_execution():
    model = compiled(steps_per_execution=4)
    with pytest.raises(ValueError, match="`steps_per_execution` must be 1"):
        model.fit(X, Y, verbose=0)


@tensorflow_only
def test_a_step_holds_no_python_and_no_text():
    """A TPU can run neither."""
    import tensorflow as tf

    loss, brier = GammaCE(0.1, from_logits=True), BrierScore(from_logits=True)
    ece = ExpectedCalibrationError(from_logits=True)

    @tf.function
    def step(y, z):
        ece.update_state(y, z)
        brier.update_state(y, z)
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z)
        return tape.gradient(value, z), ece.result(), brier.result()

    graph = step.get_concrete_function(
        tf.TensorSpec((8,), tf.int32), tf.TensorSpec((8, 5), tf.float32)
    ).graph.as_graph_def()
    found = set(re.findall(r'\bop: "(\w+)"', str(graph)))
    refused = {"PyFunc", "EagerPyFunc", "PyFuncStateless", "PrintV2", "Assert"}
    assert not found & (refused | {"HistogramFixedWidth"})
    assert any("AssignVariableOp" in op for op in found)  # the whole step was traced
