"""Calibration for Keras: losses, streaming metrics, and callbacks that anneal them.

>>> import keras_calib
>>> loss = keras_calib.GammaCE(0.1, from_logits=True)
>>> float(loss.gamma)
0.1
"""

from keras_calib import calibrators, callbacks, losses, metrics, ops, viz
from keras_calib.calibrators import TemperatureScaling, calibrate
from keras_calib.checks import check
from keras_calib.losses import (
    BinaryFocalCE,
    CategoricalMeanAbsoluteError,
    ConfidencePenaltyCE,
    ExpectedAccuracyLoss,
    FocalCE,
    GammaBCE,
    GammaCE,
    GeneralizedCE,
    GradientWeightedCE,
    LabelSmoothingCE,
    PolyLoss,
)
from keras_calib.metrics import (
    BrierScore,
    CalibrationGap,
    ExpectedCalibrationError,
)

__version__ = "0.1.0"

__all__ = [
    "BinaryFocalCE",
    "BrierScore",
    "CalibrationGap",
    "CategoricalMeanAbsoluteError",
    "ConfidencePenaltyCE",
    "ExpectedAccuracyLoss",
    "ExpectedCalibrationError",
    "FocalCE",
    "GammaBCE",
    "GammaCE",
    "GeneralizedCE",
    "GradientWeightedCE",
    "LabelSmoothingCE",
    "PolyLoss",
    "TemperatureScaling",
    "calibrate",
    "calibrators",
    "callbacks",
    "check",
    "losses",
    "metrics",
    "ops",
    "viz",
]
