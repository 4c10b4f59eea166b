"""Calibration for Keras: losses, streaming metrics, and callbacks that anneal them.

>>> import keras_calib
>>> loss = keras_calib.GammaCE(0.1, from_logits=True)
>>> float(loss.gamma)
0.1
"""

from keras_calib import calibrators, callbacks, losses, metrics, ops, viz
from keras_calib.calibrators import TemperatureScaling, calibrate
from keras_calib.checks import check
from keras_calib.evaluation import Evaluation, evaluate
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
    AURC,
    AccuracyAtCoverage,
    BinaryECE,
    BinStatistics,
    BrierDecomposition,
    BrierScore,
    CalibrationGap,
    CalibrationMetrics,
    ClasswiseECE,
    ExpectedCalibrationError,
    KSCalibrationError,
    MaximumCalibrationError,
    MultilabelECE,
    NegativeLogLikelihood,
    PredictiveEntropy,
    SmoothECE,
    TopKCalibrationError,
)

__version__ = "0.1.0"

__all__ = [
    "AURC",
    "AccuracyAtCoverage",
    "BinStatistics",
    "BinaryECE",
    "BinaryFocalCE",
    "BrierDecomposition",
    "BrierScore",
    "CalibrationGap",
    "CalibrationMetrics",
    "CategoricalMeanAbsoluteError",
    "ClasswiseECE",
    "ConfidencePenaltyCE",
    "Evaluation",
    "ExpectedAccuracyLoss",
    "ExpectedCalibrationError",
    "FocalCE",
    "GammaBCE",
    "GammaCE",
    "GeneralizedCE",
    "GradientWeightedCE",
    "KSCalibrationError",
    "LabelSmoothingCE",
    "MaximumCalibrationError",
    "MultilabelECE",
    "NegativeLogLikelihood",
    "PolyLoss",
    "PredictiveEntropy",
    "SmoothECE",
    "TemperatureScaling",
    "TopKCalibrationError",
    "calibrate",
    "calibrators",
    "callbacks",
    "check",
    "evaluate",
    "losses",
    "metrics",
    "ops",
    "viz",
]
