"""Metrics that stream calibration as data goes by."""

from keras_calib.metrics.base import BinnedMetric, CalibrationMetric, MeanMetric
from keras_calib.metrics.brier import BrierScore
from keras_calib.metrics.expected_calibration_error import (
    CalibrationGap,
    ExpectedCalibrationError,
)
from keras_calib.metrics.statistics import BinStatistics

__all__ = [
    "BinStatistics",
    "BinnedMetric",
    "BrierScore",
    "CalibrationGap",
    "CalibrationMetric",
    "ExpectedCalibrationError",
    "MeanMetric",
]
