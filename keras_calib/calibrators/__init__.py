"""Layers that are fitted after training and turn logits into probabilities."""

from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.beta import BetaCalibration
from keras_calib.calibrators.calibrate import calibrate
from keras_calib.calibrators.histogram import HistogramBinning
from keras_calib.calibrators.isotonic import IsotonicCalibration
from keras_calib.calibrators.linear import (
    DirichletCalibration,
    MatrixScaling,
    VectorScaling,
)
from keras_calib.calibrators.noise import NoiseCorrection
from keras_calib.calibrators.platt import PlattScaling
from keras_calib.calibrators.report import CalibrationReport
from keras_calib.calibrators.temperature import TemperatureScaling

__all__ = [
    "BetaCalibration",
    "CalibrationReport",
    "Calibrator",
    "DirichletCalibration",
    "HistogramBinning",
    "IsotonicCalibration",
    "MatrixScaling",
    "NoiseCorrection",
    "PlattScaling",
    "TemperatureScaling",
    "VectorScaling",
    "calibrate",
]
