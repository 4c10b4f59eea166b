"""A loss below the floor of the noise warns once, or stops the fit."""

import warnings

import keras
import numpy as np
import pytest

from keras_calib.callbacks import NoiseFloor
from keras_calib.losses import ForwardCorrectedCE, noise_floor

TRANSITION = [[0.7, 0.3], [0.3, 0.7]]


def fit(callback):
    """Fits a model that can memorize 16 random labels, and returns its losses."""
    keras.utils.set_random_seed(0)
    y = np.arange(16) * 7 % 5 % 2
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(2)])
    loss = ForwardCorrectedCE(TRANSITION, from_logits=True)
    model.compile(keras.optimizers.Adam(0.3), loss)
    return model.fit(np.eye(16), y, epochs=12, verbose=0, callbacks=[callback]).history


def test_it_stops_when_labels_are_memorized():
    floor = noise_floor(TRANSITION)
    losses = fit(NoiseFloor(floor, stop=True))["loss"]
    assert 1 < len(losses) < 12
    assert losses[-1] < floor <= min(losses[:-1])


def test_it_warns_once():
    with pytest.warns(UserWarning, match="below the floor of .*memorizes") as found:
        losses = fit(NoiseFloor(noise_floor(TRANSITION)))["loss"]
    assert len(losses) == 12
    assert sum("NoiseFloor" in str(warning.message) for warning in found) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "NoiseFloor")
        fit(NoiseFloor(0.1))


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"must be in the logs, .*'loss'.*: 'nll'"):
        fit(NoiseFloor(0.1, "nll"))
    with pytest.raises(ValueError, match="`floor` must be a number at least 0"):
        NoiseFloor(-1.0)
    with pytest.raises(ValueError, match="`stop` must be True or False"):
        NoiseFloor(1.0, stop="no")
