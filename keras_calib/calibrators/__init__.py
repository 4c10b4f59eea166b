"""Layers that are fitted after training and turn logits into probabilities."""

from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.calibrate import CalibrationReport, calibrate
from keras_calib.calibrators.temperature import TemperatureScaling

__all__ = [
    "CalibrationReport",
    "Calibrator",
    "TemperatureScaling",
    "calibrate",
]
