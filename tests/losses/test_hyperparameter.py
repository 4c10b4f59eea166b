"""A number that moves: what it holds, who sees it, how it comes back."""

import pickle
import warnings

import keras
import numpy as np
import pytest

from keras_calib import FocalCE, GammaBCE, GammaCE
from keras_calib.losses import Hyperparameter
from tests.backends import BACKEND


@pytest.mark.parametrize("value", [0.0, 1e-12, 0.1, 1 / 3, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_float16"])
def test_it_gives_back_the_number_it_was_given(value, dtype):
    held = Hyperparameter(value, name="h", dtype=dtype)
    expected = value if dtype == "float64" else float(str(np.float32(value)))
    assert float(held) == expected
    held.assign(0.3)
    assert float(held) == 0.3


def test_a_loss_shows_what_moves():
    assert list(GammaCE(0.1).hyperparameters) == ["gamma"]
    assert list(GammaBCE(0.1).hyperparameters) == ["gamma"]
    assert FocalCE(2.0).hyperparameters == {}


def test_assigning_to_the_attribute_moves_it():
    loss = GammaCE(0.1)
    held = loss.gamma
    loss.gamma = 0.4
    assert loss.gamma is held
    assert float(loss.gamma) == 0.4
    with pytest.raises(ValueError, match=r"`gamma` must be a number in \[0, 1\]"):
        loss.gamma = 2.0
    assert float(loss.gamma) == 0.4


def test_the_current_value_is_in_the_config():
    loss = GammaCE(0.1)
    loss.gamma.assign(0.7)
    assert loss.get_config()["gamma"] == 0.7
    assert float(pickle.loads(pickle.dumps(loss)).gamma) == 0.7


def test_float64_losses_hold_it_in_float64():
    assert GammaCE(0.1, dtype="float64").gamma.variable.dtype == "float64"
    assert GammaCE(0.1, dtype="mixed_float16").gamma.variable.dtype == "float32"


def test_it_is_a_metric_that_data_and_epochs_leave_alone():
    held = Hyperparameter(0.2, name="h")
    held.update_state([1], [2], sample_weight=[3])
    held.reset_state()
    assert float(held.result()) == np.float32(0.2)
    assert len(held.variables) == 1
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(held)
    )
    assert again.get_config() == held.get_config()


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere a step reads the variable")
def test_to_assign_what_jax_has_baked_in_warns():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    loss = GammaCE(0.1, from_logits=True)
    model.compile("sgd", loss)
    batch = np.zeros((4, 2)), np.zeros(4, int)
    loss.gamma = 0.2  # nothing is compiled
    model.evaluate(*batch, verbose=0)
    with pytest.warns(UserWarning, match=r"keeps gamma=0.2: .* metrics=\[loss.gamma\]"):
        loss.gamma = 0.3
    model.compile("sgd", loss, metrics=[loss.gamma])
    model.evaluate(*batch, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loss.gamma = 0.4
    assert model.evaluate(*batch, verbose=0, return_dict=True)["gamma"] == np.float32(
        0.4
    )


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere a step reads the variable")
def test_what_a_step_of_your_own_has_baked_in_warns_too():
    import jax

    loss = GammaCE(0.2, from_logits=True)
    gradient = jax.grad(lambda z: loss(np.zeros(4, int), z))
    z = np.eye(4, dtype="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        before = gradient(z)
        loss.gamma = 0.3  # not compiled: each call reads it
        assert np.abs(gradient(z) - before).max() > 1e-3
    step = jax.jit(gradient)
    before = step(z)
    with pytest.warns(UserWarning, match="keeps gamma=0.3: .* keras.StatelessScope"):
        loss.gamma = 0.9
    np.testing.assert_array_equal(step(z), before)


@keras.saving.register_keras_serializable(package="tests")
class Rounded(Hyperparameter):
    """Rounds to a multiple of a step."""

    def __init__(self, value, step=0.1, **kwargs):
        super().__init__(value, **kwargs)
        self.step = step

    def assign(self, value):
        super().assign(round(value / self.step) * self.step)

    def get_config(self):
        return {**super().get_config(), "step": self.step}


def test_a_subclass_is_shown_saved_and_loaded():
    held = Rounded(0.3, step=0.25, high=1.0, name="gamma")
    assert repr(held) == "Rounded(gamma=0.3)"
    held.assign(0.6)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(held)
    )
    assert repr(again) == "Rounded(gamma=0.5)"
    assert again.get_config() == held.get_config()
    assert repr(Hyperparameter(0.3, name="gamma")) == "Hyperparameter(gamma=0.3)"


def test_out_of_range():
    with pytest.raises(ValueError, match=r"`sigma` must be a number in \[0.1, 2\]"):
        Hyperparameter(3.0, low=0.1, high=2.0, name="sigma")
