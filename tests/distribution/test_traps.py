"""What a platform does wrong in silence, and we must not fall into.

The engines' own numbers are in test_engines.py, a loss's per-sample values in
tests/losses/test_common.py, resuming and loading in tests/callbacks.
"""

import keras
import numpy as np
import pytest

from keras_calib import BrierScore, ExpectedCalibrationError, GammaCE
from keras_calib.callbacks import GammaScheduler, linear
from tests.backends import BACKEND, tensorflow_only
from tests.callbacks.tools import Tape, X, Y, compiled
from tests.metrics.reference import TABLE, data


def standing_still(**kwargs):
    """Returns a model of which only gamma moves, and its logits."""
    model = compiled(
        GammaCE(0.0, from_logits=True), optimizer=keras.optimizers.SGD(0.0), **kwargs
    )
    return model, model.predict(X, verbose=0)


@pytest.mark.parametrize("name", TABLE)
def test_counters_add_up_over_replicas(name):
    """Only sums read on demand total rightly, and integers corrupt on assignment."""
    metric = TABLE[name].make()
    y, p, w = data(TABLE[name].kind, n=8)
    metric.update_state(y, p, w)  # some make their counters here
    assert metric.variables
    for variable in metric.variables:
        assert variable.aggregation == "sum"
        assert variable.synchronization == "on_read"
        assert variable.dtype == "float32"


def test_gamma_is_no_weight(tmp_path):
    """It is in neither `.weights.h5` nor the model's variables."""
    model = compiled(GammaCE(0.3, from_logits=True))
    model.fit(X, Y, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    loaded = compiled(GammaCE(0.7, from_logits=True))
    loaded.load_weights(tmp_path / "m.weights.h5")
    assert float(loaded.loss.gamma) == 0.7
    assert not any("gamma" in v.path for v in model.weights)


def test_a_ragged_last_batch_has_the_gamma_of_its_step():
    """On JAX it is traced anew, and a gamma baked in would be another one there."""
    model, z = standing_still()
    tape, batches = Tape(), [slice(i, i + 32) for i in (0, 32, 64)]
    history = model.fit(
        X,
        Y,
        batch_size=32,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[GammaScheduler(linear(0.0, 1.0), unit="step"), tape],
    ).history
    assert tape.steps == pytest.approx(np.linspace(0, 1, 6), abs=1e-7)
    for epoch, found in enumerate(history["loss"]):
        gammas = tape.steps[3 * epoch : 3 * epoch + 3]
        sums = [
            len(Y[rows]) * float(GammaCE(gamma, from_logits=True)(Y[rows], z[rows]))
            for gamma, rows in zip(gammas, batches, strict=True)
        ]
        assert found == pytest.approx(sum(sums) / len(Y), rel=1e-5)


def test_a_result_is_no_view_of_the_state():
    """JAX gives the state's buffer away at the next step, the log would be gone."""
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
    """So one must watch something free of gamma: here nothing is learnt."""
    model, _ = standing_still(metrics=[BrierScore(from_logits=True)])
    callbacks = [GammaScheduler(linear(0.0, 0.9))]
    fitting = {"epochs": 3, "verbose": 0, "validation_data": (X, Y)}
    history = model.fit(X, Y, callbacks=callbacks, **fitting).history
    assert np.all(np.diff(history["val_loss"]) < -0.01)
    assert len(set(history["val_brier_score"])) == 1


@pytest.mark.skipif(BACKEND != "torch", reason="is about torch's trainer")
def test_torch_refuses_several_steps_an_execution():
    model = compiled(steps_per_execution=4)
    with pytest.raises(ValueError, match="`steps_per_execution` must be 1"):
        model.fit(X, Y, verbose=0)


@tensorflow_only
def test_a_step_holds_no_python_and_no_text():
    """A TPU runs neither."""
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
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    found = {node.op for node in nodes}
    refused = {"PyFunc", "EagerPyFunc", "PyFuncStateless", "PrintV2", "Assert"}
    assert not found & (refused | {"HistogramFixedWidth"})
    assert any("AssignVariableOp" in op for op in found)  # the step is all there
