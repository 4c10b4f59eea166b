"""A schedule inside the compiled step: it moves where a gradient is taken."""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import ExpectedAccuracyLoss, GammaBCE, GammaCE
from keras_calib.callbacks import (
    AdaptiveGamma,
    GammaScheduler,
    cosine,
    exponential,
    linear,
)
from keras_calib.layers import MultiTaskModel
from keras_calib.losses import Hyperparameter, gamma_ce
from tests.backends import BACKEND, jax_only, not_on_jax, not_on_torch, tensorflow_only
from tests.callbacks.tools import CountingGammaCE, X, Y, compiled, eighths

STEPS = 7  # in an epoch of 70 samples
DECAY = keras.optimizers.schedules.PolynomialDecay(0.0, 40, 0.8)


def after(steps):
    """Returns the gamma that DECAY has reached."""
    return pytest.approx(0.8 * np.minimum(np.asarray(steps), 40) / 40, abs=1e-6)


def scheduled(schedule=DECAY):
    return GammaCE(schedule, from_logits=True)


def fit(model, *callbacks, y=Y, **kwargs):
    kwargs = {"batch_size": 10, "shuffle": False, "verbose": 0, **kwargs}
    return model.fit(X, y, callbacks=list(callbacks), **kwargs).history


WAYS = [{}, {"run_eagerly": True}]
if BACKEND != "torch":
    WAYS += [{"jit_compile": True}, {"steps_per_execution": 4}]
if BACKEND == "tensorflow":
    WAYS += [{"jit_compile": False}]


@pytest.mark.thorough
@pytest.mark.parametrize("options", WAYS)
def test_it_moves_each_step_and_stands_still_in_validation(options):
    model = compiled(scheduled(), **options)
    history = fit(model, epochs=3, validation_data=(X, Y))
    assert history["gamma"] == after([7, 14, 21])
    assert history["val_gamma"] == history["gamma"]
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    assert float(model.loss.gamma) == after(21)
    assert fit(model, epochs=2)["gamma"] == after([28, 35]), "a second fit goes on"


@pytest.mark.parametrize("options", WAYS)
def test_each_step_takes_the_gamma_of_its_number(options):
    """A learning rate of 0 leaves the model alone: only gamma changes the loss."""
    model = compiled(scheduled(), optimizer=keras.optimizers.SGD(0.0), **options)
    z = model.predict(X, verbose=0)
    (found,) = fit(model, epochs=1)["loss"]
    batches = [slice(10 * t, 10 * t + 10) for t in range(STEPS)]
    losses = [
        float(GammaCE(0.02 * t, from_logits=True)(Y[rows], z[rows]))
        for t, rows in enumerate(batches)
    ]
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("options", WAYS)
def test_the_gradient_is_that_of_the_step_too(options):
    """A gamma that moved before the gradient was taken would train another model."""
    jump = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.9])
    one, other = (compiled(scheduled(g), **options) for g in (jump, 0.1))
    for model in (one, other):
        model.fit(X, Y, batch_size=70, shuffle=False, verbose=0)
    assert float(one.loss.gamma) == np.float32(0.9)
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.thorough
@not_on_torch
@pytest.mark.parametrize("options", WAYS[2:])
def test_a_moving_gamma_makes_no_new_trace(options):
    def traces(gamma):
        loss = CountingGammaCE(gamma, from_logits=True)
        model = compiled(loss, **options)
        for _ in range(2):
            fit(model, epochs=2, validation_data=(X, Y))
        return loss.traces

    assert traces(DECAY) == traces(0.1)


@pytest.mark.parametrize(
    "schedule",
    [
        linear(0.1, 0.7, steps=10),
        cosine(0.1, 0.7, steps=10),
        exponential(0.1, 0.7, steps=10),
        keras.optimizers.schedules.ExponentialDecay(0.7, 10, 0.5),
        keras.optimizers.schedules.PiecewiseConstantDecay([3, 8], [0.0, 0.2, 1.0]),
        keras.optimizers.schedules.CosineDecay(0.1, 10, warmup_target=0.6),
    ],
)
def test_every_schedule_is_the_function_of_the_step(schedule):
    model = compiled(scheduled(schedule))
    history = fit(model, epochs=2)
    expected = [float(schedule(t)) for t in (7, 14)]
    assert history["gamma"] == pytest.approx(expected, rel=1e-5)


def test_a_ramp_ends_exactly_after_its_steps():
    for ramp in (linear, cosine, exponential):
        model = compiled(scheduled(ramp(0.1, 0.7, steps=STEPS)))
        fit(model, epochs=2)
        assert float(model.loss.gamma) == 0.7


def test_any_hyperparameter_of_any_loss():
    sigma = ExpectedAccuracyLoss(
        sigma=exponential(10.0, 0.1, steps=14), from_logits=True
    )
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", sigma, metrics=[sigma.sigma])
    assert fit(model, epochs=2)["sigma"] == pytest.approx([1.0, 0.1], rel=1e-5)
    binary = GammaBCE(DECAY, from_logits=True)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", binary, metrics=[binary.gamma])
    y = (Y > 0).astype("float32")[:, None]
    assert fit(model, y=y, epochs=2)["gamma"] == after([7, 14])


def test_float64_and_float16():
    for dtype in ("float64", "mixed_float16"):
        loss = GammaCE(DECAY, from_logits=True, dtype=dtype)
        model = compiled(loss)
        assert fit(model, epochs=1)["gamma"] == after([7])


def test_initial_epoch_only_counts_what_is_trained():
    model = compiled(scheduled())
    assert fit(model, epochs=5, initial_epoch=3)["gamma"] == after([7, 14])


def test_each_batch_counts_when_gradients_are_accumulated():
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=2)
    model = compiled(scheduled(), optimizer=optimizer)
    assert fit(model, epochs=2)["gamma"] == after([7, 14])


def two_outputs(loss, metrics):
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(3, name=n)(inputs) for n in ("a", "b")]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", loss, metrics=metrics)
    return model


@pytest.mark.parametrize("twice", [False, True])
def test_outputs_that_share_a_loss_count_once(twice):
    loss = scheduled()
    shown = [[loss.gamma], [loss.gamma] if twice else []]
    model = two_outputs([loss, loss], shown)
    fit(model, y=[Y, Y], epochs=2, validation_data=(X, [Y, Y]))
    assert float(loss.gamma) == after(14)


def test_outputs_with_schedules_of_their_own():
    losses = [scheduled(), scheduled(linear(0.0, 1.0, steps=14))]
    model = two_outputs(losses, [[loss.gamma] for loss in losses])
    history = fit(model, y=[Y, Y], epochs=2)
    assert history["a_gamma"] == after([7, 14])
    assert history["b_gamma"] == pytest.approx([0.5, 1.0])


def test_a_task_of_several():
    inputs = keras.Input((4,))
    outputs = {"digit": keras.layers.Dense(3)(inputs)}
    model = MultiTaskModel(keras.Model(inputs, outputs), {"digit": "classification"})
    loss = scheduled()
    model.compile("sgd", {"digit": loss}, metrics={"digit": [loss.gamma]})
    fit(model, y={"digit": Y}, epochs=2)
    assert float(loss.gamma) == after(14)


def saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "m.keras")
    return keras.models.load_model(tmp_path / "m.keras")


def pickled(model, tmp_path):
    return pickle.loads(pickle.dumps(model))


def copied(model, tmp_path):
    return copy.deepcopy(model)


def cloned(model, tmp_path):
    return keras.models.clone_model(model)


@pytest.mark.parametrize("again", [saved_and_loaded, pickled, copied, cloned])
def test_a_model_made_again_goes_on_where_it_was(again, tmp_path):
    model = compiled(scheduled())
    fit(model, epochs=1)
    new = again(model, tmp_path)
    assert float(new.loss.gamma) == after(7)
    assert fit(new, epochs=2)["gamma"] == after([14, 21])
    assert float(new.loss.gamma) == after(21)
    assert float(model.loss.gamma) == after(7), "the first is untouched"
    assert fit(again(model, tmp_path), epochs=1)["gamma"] == after([14])


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_loss_made_again(again):
    loss = scheduled(cosine(0.0, 0.5, steps=100))
    loss.gamma.start(50)
    new = again(loss)
    assert new.gamma is not loss.gamma
    assert float(new.gamma) == pytest.approx(0.25)
    assert new.get_config() == loss.get_config()
    assert repr(loss) == "GammaCE(gamma=<Ramp at step 50>, from_logits=True)"
    made = keras.losses.deserialize(keras.losses.serialize(loss))
    assert made.get_config() == loss.get_config()


class Killed(Exception):
    """The machine goes away."""


class Kill(keras.callbacks.Callback):
    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def on_train_batch_end(self, batch, logs=None):
        self.batch -= 1
        if not self.batch:
            raise Killed


def test_backup_and_restore_goes_on_in_the_middle_of_an_epoch(tmp_path):
    """As a learning rate's schedule does: at the step that the weights have seen."""

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=5)

    with pytest.raises(Killed):
        fit(compiled(scheduled()), backup(), Kill(17), epochs=3)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            model = self.model
            seen.append(
                (epoch, int(model.optimizer.iterations), float(model.loss.gamma))
            )

    model = compiled(scheduled())
    history = fit(model, backup(), Look(), epochs=3)
    ((epoch, iterations, gamma),) = seen
    assert epoch == 2
    assert iterations >= 15
    assert gamma == after(iterations)
    assert history["gamma"] == after([iterations + STEPS])


def test_weights_hold_the_step_and_may_lack_it(tmp_path):
    model, path = compiled(scheduled()), tmp_path / "m.weights.h5"
    fit(model, epochs=1)
    model.save_weights(path)
    other = compiled(scheduled())
    other.load_weights(path)
    assert float(other.loss.gamma) == after(7)
    constant = compiled()
    constant.load_weights(path)
    assert float(constant.loss.gamma) == 0.1
    constant.save_weights(path)
    other.load_weights(path)
    assert float(other.loss.gamma) == after(7)


@not_on_jax
@pytest.mark.parametrize("options", WAYS)
def test_it_moves_where_it_is_no_metric_too(options):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.set_weights([eighths(w) for w in model.get_weights()])
    loss = scheduled()
    model.compile(keras.optimizers.SGD(0.0), loss, **options)
    z = model.predict(X, verbose=0)
    (found,) = fit(model, batch_size=35, validation_data=(X, Y))["loss"]
    losses = [
        float(GammaCE(g, from_logits=True)(Y[rows], z[rows]))
        for g, rows in ((0.0, slice(0, 35)), (0.02, slice(35, 70)))
    ]
    assert found == pytest.approx(np.mean(losses), rel=1e-5)
    loss(Y, z)
    assert float(loss.gamma) == after(2)


@jax_only
@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}])
def test_jax_refuses_to_train_where_it_would_stand_still(options):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", scheduled(), **options)
    model.evaluate(X, Y, verbose=0)
    with pytest.raises(ValueError, match=r"compile .* metrics=\[loss.gamma\]"):
        fit(model)


def gradient(loss, z):
    """Returns the gradient of the logits, as a user looks at it."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        z = tf.convert_to_tensor(z)
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(Y, z)
        return tape.gradient(value, z)
    if BACKEND == "jax":
        import jax

        return jax.grad(lambda z: loss(Y, z))(z)
    import torch

    z = torch.tensor(z, requires_grad=True)
    return torch.autograd.grad(loss(Y, z), z)[0]


def test_to_look_at_gradients_between_steps_does_not_count():
    model = compiled(scheduled())
    history = fit(model, epochs=1)
    z = model.predict(X, verbose=0)
    constant = GammaCE(float(model.loss.gamma), from_logits=True)
    for _ in range(3):
        found, expected = gradient(model.loss, z), gradient(constant, z)
        np.testing.assert_allclose(*map(ops.convert_to_numpy, (found, expected)))
    assert history["gamma"] == after([7])
    assert fit(model, epochs=1)["gamma"] == after([14])


@tensorflow_only
def test_a_step_of_your_own():
    import tensorflow as tf

    layer, loss = keras.layers.Dense(3), scheduled()
    layer.build((None, 4))

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, layer(x))
        return tape.gradient(value, layer.trainable_variables)

    found = []
    for _ in range(3):
        step(X, Y)
        loss(Y, layer(X))
        found.append(float(loss.gamma))
    assert found == after([1, 2, 3])


@jax_only
def test_a_step_of_your_own_on_jax():
    import jax

    loss = scheduled()
    z = np.random.default_rng(0).normal(size=(70, 3)).astype("float32")
    with pytest.raises(ValueError, match=r"keras.StatelessScope"):
        jax.jit(jax.grad(lambda z: loss(Y, z)))(z)

    @jax.jit
    def step(z, gamma):
        with keras.StatelessScope([(loss.gamma.variable, gamma)]):
            return jax.grad(lambda z: loss(Y, z))(z)

    found, expected = step(z, 0.3), gradient(GammaCE(0.3, from_logits=True), z)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        (linear(-0.1, 0.5, steps=100), 0),
        (linear(0.1, 2.0, steps=100), 100),
        (keras.optimizers.schedules.PolynomialDecay(0.5, 1000, 7.0), 1000),
    ],
)
def test_a_schedule_that_starts_or_ends_out_of_range_is_refused(schedule, at):
    match = rf"`gamma` must be a number in \[0, 1\]. Received: .* at step {at}$"
    with pytest.raises(ValueError, match=match):
        GammaCE(schedule)


@keras.saving.register_keras_serializable(package="tests")
class Leaves(keras.optimizers.schedules.LearningRateSchedule):
    """Is out of range from a step on, which nobody can know."""

    def __call__(self, step):
        return ops.where(step < 3, 0.5, -0.001)

    def get_config(self):
        return {}


@pytest.mark.parametrize("options", WAYS)
def test_a_schedule_that_leaves_its_range_makes_the_loss_nan(options):
    model = compiled(scheduled(Leaves()), **options)
    losses = [model.train_on_batch(X, Y, return_dict=True) for _ in range(4)]
    assert [np.isnan(logs["loss"]) for logs in losses] == [False, False, False, True]
    assert np.isnan(losses[-1]["gamma"])
    assert np.isnan(model.get_weights()[0]).all()
    assert np.isnan(model.evaluate(X, Y, verbose=0, return_dict=True)["loss"])


def test_the_rounding_of_a_bound_is_no_error():
    class Rounds(Leaves):
        def __call__(self, step):
            return ops.cast(1.0 + 1e-7, "float32")

    assert float(Hyperparameter(Rounds(), high=1.0)) == 1.0


def test_what_is_no_schedule_by_step_is_refused():
    said = r"linear\(0.0, 0.5, steps=10_000\)"
    for value in (linear(0.0, 0.5), lambda step: 0.1):
        with pytest.raises(ValueError, match=said):
            GammaCE(value)
    with pytest.raises(ValueError, match="`gamma` must be a number in"):
        gamma_ce([0], [[0.5, 0.5]], gamma=DECAY)
    with pytest.raises(ValueError, match="`steps` must be a whole number"):
        linear(0.0, 0.5, steps=0)


def test_a_schedule_and_a_hand_exclude_each_other():
    loss = scheduled()
    with pytest.raises(ValueError, match="`gamma` follows .*gamma=0.1, to set it by"):
        loss.gamma = 0.3
    for callback in (
        AdaptiveGamma(),
        GammaScheduler(linear(0.0, 0.5)),
        GammaScheduler(linear(0.0, 0.5), unit="step"),
    ):
        with pytest.raises(ValueError, match="a schedule of its own for 'gamma'"):
            fit(compiled(scheduled()), callback)


def test_a_ramp_is_a_learning_rate_too():
    optimizer = keras.optimizers.SGD(linear(0.1, 0.0, steps=14))
    model = compiled(optimizer=optimizer)
    fit(model, epochs=1)
    assert float(optimizer.learning_rate) == pytest.approx(0.05)
