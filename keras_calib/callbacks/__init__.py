"""Callbacks that change a loss, or measure calibration, during `fit`."""

from keras_calib.callbacks.adaptive_gamma import AdaptiveGamma
from keras_calib.callbacks.gamma_scheduler import (
    GammaScheduler,
    HyperparameterScheduler,
)
from keras_calib.callbacks.ramps import Ramp, cosine, exponential, linear
from keras_calib.callbacks.reliability_diagram_logger import (
    ReliabilityDiagramLogger,
)
from keras_calib.callbacks.training_checklist import TrainingChecklist

__all__ = [
    "AdaptiveGamma",
    "GammaScheduler",
    "HyperparameterScheduler",
    "Ramp",
    "ReliabilityDiagramLogger",
    "TrainingChecklist",
    "cosine",
    "exponential",
    "linear",
]
