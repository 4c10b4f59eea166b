"""Metrics that stream calibration as data goes by."""

from keras_calib.metrics.base import (
    BinnedMetric,
    CalibrationMetric,
    GroupedMetric,
    MeanMetric,
    RankedMetric,
)
from keras_calib.metrics.bin_statistics import BinStatistics
from keras_calib.metrics.binary import BinaryECE
from keras_calib.metrics.brier import BrierDecomposition, BrierScore
from keras_calib.metrics.classwise import ClasswiseECE
from keras_calib.metrics.collection import CalibrationMetrics
from keras_calib.metrics.evaluation import Evaluation, evaluate
from keras_calib.metrics.expected_calibration_error import (
    CalibrationGap,
    ExpectedCalibrationError,
    MaximumCalibrationError,
)
from keras_calib.metrics.kolmogorov_smirnov import KSCalibrationError
from keras_calib.metrics.likelihood import NegativeLogLikelihood, PredictiveEntropy
from keras_calib.metrics.multilabel import MultilabelECE
from keras_calib.metrics.selective import AURC, AccuracyAtCoverage
from keras_calib.metrics.smooth import SmoothECE
from keras_calib.metrics.top_k import TopKCalibrationError

__all__ = [
    "AURC",
    "AccuracyAtCoverage",
    "BinStatistics",
    "BinaryECE",
    "BinnedMetric",
    "BrierDecomposition",
    "BrierScore",
    "CalibrationGap",
    "CalibrationMetric",
    "CalibrationMetrics",
    "ClasswiseECE",
    "Evaluation",
    "ExpectedCalibrationError",
    "GroupedMetric",
    "KSCalibrationError",
    "MaximumCalibrationError",
    "MeanMetric",
    "MultilabelECE",
    "NegativeLogLikelihood",
    "PredictiveEntropy",
    "RankedMetric",
    "SmoothECE",
    "TopKCalibrationError",
    "evaluate",
]
