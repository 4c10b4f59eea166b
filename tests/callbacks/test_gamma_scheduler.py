"""Gamma moves as the schedule says, with one trace, and comes back."""

import pickle

import keras
import numpy as np
import pytest

from keras_calib import GammaCE
from keras_calib.callbacks import (
    GammaScheduler,
    HyperparameterScheduler,
    cosine,
    exponential,
    linear,
)
from tests.backends import BACKEND, jax_only, not_on_torch
from tests.callbacks.tools import CountingGammaCE, Tape, X, Y, compiled

several = pytest.param(4, marks=not_on_torch)
# On JAX gamma must be among the metrics.
whether_shown = pytest.mark.parametrize(
    "shown", [True] if BACKEND == "jax" else [True, False]
)


def fit(model, *callbacks, **kwargs):
    kwargs = {"batch_size": 10, "verbose": 0, **kwargs}
    return model.fit(X, Y, callbacks=list(callbacks), **kwargs).history


def test_each_epoch_has_its_gamma():
    history = fit(compiled(), GammaScheduler(linear(0.0, 0.5)), epochs=5)
    np.testing.assert_allclose(history["gamma"], [0, 0.125, 0.25, 0.375, 0.5])


@whether_shown
def test_each_step_has_its_gamma(shown):
    """The loss of a step, where nothing learns, tells its gamma."""
    sgd = keras.optimizers.SGD(0.0)
    model, losses = compiled(optimizer=sgd, shown=shown), []
    z = model.predict(X, verbose=0)

    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(logs["loss"])
    )
    scheduler = GammaScheduler(linear(0.0, 0.5), unit="step")
    fit(model, scheduler, note, epochs=3, shuffle=False, validation_data=(X, Y))
    each = [
        float(GammaCE(0.5 * t / 20, from_logits=True)(Y[rows], z[rows]))
        for t in range(21)
        for rows in [slice(10 * (t % 7), 10 * (t % 7) + 10)]
    ]
    means = [np.cumsum(of) / np.arange(1, 8) for of in np.reshape(each, (3, 7))]
    assert losses == pytest.approx(np.concatenate(means), rel=1e-5)


def test_the_gamma_of_each_step_is_shown():
    tape = Tape()
    fit(compiled(), GammaScheduler(linear(0.0, 0.5), unit="step"), tape, epochs=3)
    assert tape.steps == pytest.approx(np.linspace(0, 0.5, 21), abs=1e-7)
    assert tape.steps[-1] == 0.5


@pytest.mark.thorough
@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize("ramp", [linear, cosine, exponential])
@pytest.mark.parametrize("steps_per_execution", [1, several])
@whether_shown
def test_the_end_is_reached_exactly(shown, steps_per_execution, ramp, unit):
    model = compiled(steps_per_execution=steps_per_execution, shown=shown)
    fit(model, GammaScheduler(ramp(0.1, 0.7), unit), epochs=2)
    assert float(model.loss.gamma) == 0.7


def test_one_epoch_has_the_end_value():
    model = compiled()
    fit(model, GammaScheduler(linear(0.0, 0.5)), epochs=1)
    assert float(model.loss.gamma) == 0.5


def test_the_loss_is_that_of_the_gamma_shown():
    """A learning rate of 0 leaves the model alone: only gamma changes the loss."""
    model = compiled(optimizer=keras.optimizers.SGD(0.0))
    history = fit(model, GammaScheduler(linear(0.0, 1.0)), epochs=4)
    z = model.predict(X, verbose=0)
    for gamma, loss in zip(history["gamma"], history["loss"], strict=True):
        expected = GammaCE(gamma, from_logits=True)(Y, z)
        assert loss == pytest.approx(float(expected), rel=1e-5)


def test_functions_and_keras_schedules():
    model, tape = compiled(), Tape()
    fit(model, GammaScheduler(lambda epoch: 0.1 * epoch), tape, epochs=3)
    assert tape.steps[::7] == [0.0, 0.1, 0.2]
    decay = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.5)
    tape = Tape()
    fit(model, GammaScheduler(decay, unit="step"), tape, epochs=2)
    expected = 0.5 * 0.5 ** (np.arange(14) / 10)
    assert tape.steps == pytest.approx(expected, rel=1e-6)


@not_on_torch
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"jit_compile": True},
        {"steps_per_execution": 4},
    ],
)
def test_gamma_moves_each_step_with_no_new_trace(kwargs):
    def traces(*callbacks):
        loss = CountingGammaCE(0.0, from_logits=True)
        model = compiled(loss, **kwargs)
        for _ in range(2):
            fit(model, *callbacks, epochs=2)
        return loss.traces

    assert traces(GammaScheduler(linear(0.0, 0.9), unit="step")) == traces() <= 2


@not_on_torch
@whether_shown
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_ramp_moves_in_every_step_of_an_execution(jit_compile, shown):
    """The loss of the epoch is the mean over its steps, which have a gamma each."""
    options = {"jit_compile": jit_compile, "steps_per_execution": 4, "shown": shown}
    model = compiled(optimizer=keras.optimizers.SGD(0.0), **options)
    z = model.predict(X, verbose=0)
    scheduler = GammaScheduler(linear(0.0, 0.6), unit="step")
    (found,) = fit(model, scheduler, epochs=1, shuffle=False)["loss"]
    losses = [
        float(GammaCE(0.1 * t, from_logits=True)(Y[rows], z[rows]))
        for t, rows in enumerate(slice(10 * t, 10 * t + 10) for t in range(7))
    ]
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


@not_on_torch
def test_a_function_is_called_once_an_execution():
    called = []

    def schedule(step):
        called.append(step)
        return 0.01 * step

    model = compiled(steps_per_execution=4)
    fit(model, GammaScheduler(schedule, unit="step"), epochs=2)
    assert called == [11, 0, 4, 7, 11]  # 11 is looked at first
    assert float(model.loss.gamma) == pytest.approx(0.11)


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_log_and_validation_have_the_gamma_of_the_last_step(unit):
    model = compiled()
    scheduler = GammaScheduler(linear(0.0, 0.5), unit)
    history = fit(model, scheduler, epochs=3, validation_data=(X, Y))
    expected = [0.0, 0.25, 0.5] if unit == "epoch" else [0.15, 0.325, 0.5]
    assert history["gamma"] == pytest.approx(expected, rel=1e-6)
    assert history["val_gamma"] == history["gamma"]


def test_it_stands_still_without_the_callback():
    model = compiled()
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch == 1)
    )
    fit(model, GammaScheduler(linear(0.0, 0.5), unit="step"), stop, epochs=3)
    assert float(model.loss.gamma) == pytest.approx(0.325, rel=1e-6)
    assert len(set(fit(model, epochs=2)["gamma"])) == 1
    model.loss.gamma = 0.3
    assert fit(model, epochs=2)["gamma"] == [np.float32(0.3)] * 2
    assert model.loss.get_config()["gamma"] == 0.3


def test_runs_of_other_lengths_and_schedules_follow():
    loss = CountingGammaCE(0.0, from_logits=True)
    model = compiled(loss)

    def last(schedule, **kwargs):
        return fit(model, GammaScheduler(schedule, unit="step"), **kwargs)["gamma"][-1]

    assert last(linear(0.0, 0.5), epochs=1) == 0.5
    traces = loss.traces
    assert last(linear(0.0, 0.5), epochs=2, initial_epoch=1) == 0.5
    assert last(linear(0.0, 0.5), epochs=4, initial_epoch=2) == 0.5
    assert BACKEND == "torch" or loss.traces == traces
    assert last(linear(0.0, 0.7), epochs=1) == np.float32(0.7)
    assert last(lambda step: 0.2, epochs=1) == np.float32(0.2)


@keras.saving.register_keras_serializable(package="tests")
class InPython(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that no compiler understands."""

    def __call__(self, step):
        return 0.1 if step < 10 else 0.2


def test_a_keras_schedule_in_python_goes_by_the_callback():
    tape = Tape()
    fit(compiled(), GammaScheduler(InPython(), unit="step"), tape, epochs=2)
    assert tape.steps == [0.1] * 10 + [0.2] * 4


def test_keras_waits_for_no_log_of_a_step():
    """A callback that needs the logs of each step makes `fit` wait for the device."""
    assert GammaScheduler(linear(0.0, 0.5)).async_safe
    assert GammaScheduler(linear(0.0, 0.5), unit="step").async_safe
    assert not GammaScheduler(lambda step: 0.1, unit="step").async_safe


@jax_only
@pytest.mark.parametrize("schedule", [linear(0.0, 0.5), lambda step: step / 100])
def test_no_step_brings_the_state_of_jax_back(schedule):
    model, synced = compiled(), []
    plain = model.jax_state_sync

    def sync():
        if not model._jax_state_synced:
            synced.append(1)
        plain()

    model.jax_state_sync = sync
    fit(model, epochs=2)
    before = len(synced)
    fit(model, GammaScheduler(schedule, unit="step"), epochs=2)
    assert len(synced) == 2 * before, "once an epoch, as without it"


def test_metric_and_loss_are_one():
    model = compiled()
    history = fit(model, GammaScheduler(linear(0.0, 0.5)), epochs=2)
    assert history["gamma"] == [0.0, 0.5]
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["gamma"] == 0.5


def saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "m.keras")
    return keras.models.load_model(tmp_path / "m.keras")


def pickled(model, tmp_path):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("again", [saved_and_loaded, pickled])
@pytest.mark.parametrize(
    ("unit", "gammas"), [("epoch", [0.0, 0.25, 0.5]), ("step", [0.15, 0.325, 0.5])]
)
def test_a_loaded_model_keeps_its_gamma_and_goes_on(unit, gammas, again, tmp_path):
    model = compiled()
    fit(model, epochs=1)
    model.loss.gamma.assign(0.3)
    expected = model.evaluate(X, Y, verbose=0, return_dict=True)
    loaded = again(model, tmp_path)
    assert float(loaded.loss.gamma) == 0.3
    assert loaded.evaluate(X, Y, verbose=0, return_dict=True) == expected
    history = fit(loaded, GammaScheduler(linear(0.0, 0.5), unit), epochs=3)
    assert history["gamma"] == pytest.approx(gammas, rel=1e-6)
    assert float(model.loss.gamma) == pytest.approx(0.3), "the first is untouched"


def test_a_loaded_model_shows_the_gamma_of_its_first_epoch(tmp_path):
    model = compiled()
    fit(model, epochs=1)
    loaded = saved_and_loaded(model, tmp_path)
    history = fit(loaded, GammaScheduler(lambda epoch: 0.6), epochs=1)
    assert history["gamma"] == [np.float32(0.6)]


def test_a_model_fitted_after_loading_is_not_stale(tmp_path):
    """Its step is compiled before there is a scheduler."""
    model = compiled(optimizer=keras.optimizers.SGD(0.0))
    fit(model, epochs=1)
    loaded = saved_and_loaded(model, tmp_path)
    fit(loaded, epochs=1)
    history = fit(loaded, GammaScheduler(linear(0.5, 1.0)), epochs=2)
    z = loaded.predict(X, verbose=0)
    for gamma, loss in zip([0.5, 1.0], history["loss"], strict=True):
        expected = GammaCE(gamma, from_logits=True)(Y, z)
        assert loss == pytest.approx(float(expected), rel=1e-5)
    assert history["gamma"] == [0.5, 1.0]


def test_a_cloned_model_has_a_gamma_of_its_own():
    model = compiled()
    fit(model, epochs=1)
    clone = keras.models.clone_model(model)
    assert float(clone.loss.gamma) == 0.1
    history = fit(clone, GammaScheduler(linear(0.2, 0.4)), epochs=2)
    assert history["gamma"] == pytest.approx([0.2, 0.4], rel=1e-6)
    assert float(model.loss.gamma) == 0.1


class Killed(Exception):
    """The machine goes away."""


class Kill(keras.callbacks.Callback):
    def __init__(self, epoch, batch):
        super().__init__()
        self.at, self.epoch = (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Killed


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_backup_and_restore_goes_on_where_it_was(unit, tmp_path):
    schedule, whole = cosine(0.0, 0.8), Tape()
    fit(compiled(), GammaScheduler(schedule, unit), whole, epochs=6)

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(Killed):
        fit(compiled(), backup(), GammaScheduler(schedule, unit), Kill(3, 2), epochs=6)
    resumed = Tape()
    fit(compiled(), backup(), GammaScheduler(schedule, unit), resumed, epochs=6)
    assert resumed.steps == whole.steps[3 * 7 :]


def endless():
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(10)
    return data.filter(lambda x, y: True)  # of unknown length


def test_data_of_unknown_length():
    with pytest.raises(
        ValueError, match="needs the number of steps in an epoch: pass steps"
    ):
        compiled().fit(
            endless(), verbose=0, callbacks=[GammaScheduler(linear(0, 1), "step")]
        )
    tape = Tape()
    counted = GammaScheduler(lambda step: step / 100, unit="step")
    compiled().fit(endless(), epochs=2, verbose=0, callbacks=[counted, tape])
    assert tape.steps == pytest.approx(np.arange(14) / 100)
    with pytest.raises(ValueError, match="Resuming a schedule by steps at epoch 1"):
        compiled().fit(
            endless(), epochs=2, initial_epoch=1, verbose=0, callbacks=[counted]
        )


def test_two_losses_move_together():
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(3, name=n)(inputs) for n in ("a", "b")]
    model = keras.Model(inputs, outputs)
    losses = [GammaCE(0.0, from_logits=True), GammaCE(0.0, from_logits=True)]
    model.compile("sgd", loss=losses, metrics=[[loss.gamma] for loss in losses])
    model.fit(X, [Y, Y], verbose=0, callbacks=[GammaScheduler(linear(0.0, 0.5))])
    assert [float(loss.gamma) for loss in losses] == [0.5, 0.5]


@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize(
    ("schedule", "received"),
    [
        (lambda t: float("nan"), "nan"),
        (lambda t: 0.1 if t == 0 else 1.5, "1.5"),
        (lambda t: 0.1 if t == 0 else None, "None"),
        (linear(0.0, 2.0), "2.0"),
        (linear(-0.1, 0.5), "-0.1"),
        (
            keras.optimizers.schedules.PolynomialDecay(0.5, 1, end_learning_rate=7.0),
            ".*7",
        ),
    ],
)
def test_a_schedule_out_of_range_is_refused_before_the_first_step(
    schedule, received, unit
):
    model, tape = compiled(), Tape()
    match = rf"`gamma` must be a number in \[0, 1\]. Received: {received}.* at {unit}"
    with pytest.raises(ValueError, match=match):
        fit(model, GammaScheduler(schedule, unit), tape, epochs=3)
    assert not tape.steps


def test_the_value_of_one_epoch_in_the_middle_is_looked_at_too():
    tape = Tape()
    with pytest.raises(ValueError, match="Received: -1.0.* at epoch 2"):
        fit(compiled(), GammaScheduler(lambda t: [0, 0, -1.0, 0][t]), tape, epochs=4)
    assert not tape.steps


def test_bad_arguments():
    with pytest.raises(ValueError, match="'epoch', 'step'. Received: 'batch'"):
        GammaScheduler(linear(0, 1), unit="batch")
    with pytest.raises(ValueError, match=r"Received: 0.5"):
        GammaScheduler(0.5)
    model = compiled()
    with pytest.raises(ValueError, match="hyperparameter 'sigma'; they have 'gamma'"):
        fit(model, HyperparameterScheduler("sigma", linear(0, 1)))
    with pytest.raises(ValueError, match=r"`gamma` must be a number in \[0, 1\]"):
        fit(model, GammaScheduler(linear(0.0, 2.0)), epochs=2)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="No loss of the model .*loss='sparse_cat"):
        fit(model, GammaScheduler(linear(0, 1)))
