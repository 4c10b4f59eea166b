"""Type hints as a user's type checker sees them: `make lint` checks this file."""

from typing import assert_type

import keras_calib
from keras_calib import BinStatistics, TemperatureScaling
from keras_calib.callbacks import GammaScheduler, linear
from keras_calib.losses import Hyperparameter

LABELS, PREDICTIONS = [0, 1], [[0.8, 0.2], [0.7, 0.3]]


def test_hints_say_what_comes_back() -> None:
    loss = keras_calib.GammaCE(0.1)
    assert_type(loss.gamma, Hyperparameter)
    loss.gamma.assign(0.3)
    assert float(loss(LABELS, PREDICTIONS)) > 0

    ece = keras_calib.ExpectedCalibrationError(num_bins=5)
    ece.update_state(LABELS, PREDICTIONS)
    statistics = ece.statistics()
    assert_type(statistics, BinStatistics)
    assert_type(statistics.ece(), float)
    assert_type(len(statistics.edges), int)
    found = keras_calib.evaluate(LABELS, PREDICTIONS)
    assert_type(found["ece"], float)

    calibrator = TemperatureScaling(from_logits=False).fit(PREDICTIONS, LABELS)
    assert_type(calibrator, TemperatureScaling)
    assert_type(calibrator.temperature, float)

    keras_calib.GammaCE(linear(0.0, 0.5, steps=10))
    GammaScheduler(linear(0.0, 0.5))
    GammaScheduler(lambda epoch: 0.1 * epoch, unit="epoch")


def wrong_calls() -> None:
    """Each call is a silenced error; mypy reports a comment that silences nothing."""
    keras_calib.GammaCE("0.1")  # type: ignore[arg-type]
    keras_calib.GammaCE(0.1, from_logit=True)  # type: ignore[call-arg]
    keras_calib.GammaCE(0.1, label_reduction="sum")  # type: ignore[arg-type]
    keras_calib.GammaBCE(0.1, ignore_class=-1)  # type: ignore[arg-type]
    keras_calib.FocalCE(label_reduction="sum")  # type: ignore[call-arg]
    keras_calib.BinaryFocalCE(ignore_class=-1)  # type: ignore[call-arg]
    keras_calib.ExpectedCalibrationError(num_bins=None)  # type: ignore[arg-type]
