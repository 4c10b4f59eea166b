"""Every callback that moves a hyperparameter: what the compiled step sees of it."""

import inspect

import keras
import pytest

from keras_calib import CalibrationGap, ExpectedAccuracyLoss, GammaCE, callbacks
from keras_calib.callbacks import (
    AdaptiveGamma,
    GammaScheduler,
    HyperparameterScheduler,
    linear,
)
from tests.backends import BACKEND
from tests.callbacks.tools import X, Y


def gamma_ce():
    return GammaCE(0.5, from_logits=True)


def exact():
    return ExpectedAccuracyLoss(sigma=2.0, from_logits=True)


# The callback, the loss, and the name of what moves.
MOVING = {
    "GammaScheduler": (GammaScheduler(linear(0.0, 1.0)), gamma_ce, "gamma"),
    "HyperparameterScheduler": (
        HyperparameterScheduler("sigma", linear(3.0, 1.0), "step"),
        exact,
        "sigma",
    ),
    "AdaptiveGamma": (AdaptiveGamma(rate=1.0), gamma_ce, "gamma"),
}
NOT_MOVING = {"NoiseFloor", "RefineThenCalibrate", "ReliabilityDiagramLogger"}
NOT_MOVING |= {"TrainingChecklist"}


def fit(callback, loss, metrics):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    gap = CalibrationGap(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=[gap, *metrics])
    return model.fit(
        X, Y, epochs=3, validation_data=(X, Y), verbose=0, callbacks=[callback]
    ).history


def test_all_are_here():
    found = {
        name
        for name, thing in vars(callbacks).items()
        if inspect.isclass(thing) and issubclass(thing, keras.callbacks.Callback)
    }
    assert found == set(MOVING) | NOT_MOVING


@pytest.mark.parametrize("name", MOVING)
def test_among_the_metrics_it_moves(name):
    """The model stands still: the loss moves with the hyperparameter alone."""
    callback, make, hyperparameter = MOVING[name]
    loss = make()
    history = fit(callback, loss, [loss.hyperparameters[hyperparameter]])
    assert len(set(history[hyperparameter])) == 3
    assert len(set(history["loss"])) == 3


@pytest.mark.parametrize("name", MOVING)
def test_elsewhere_it_moves_too_or_jax_refuses(name):
    callback, make, hyperparameter = MOVING[name]
    if BACKEND == "jax":
        with pytest.raises(ValueError, match=rf"metrics=\[loss.{hyperparameter}\]"):
            fit(callback, make(), [])
    else:
        assert len(set(fit(callback, make(), [])["loss"])) == 3
