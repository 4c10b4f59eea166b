"""Figures. Matplotlib is imported only when one is drawn."""

from keras_calib.viz.loss_curves import LossCurvesDisplay, loss_curves
from keras_calib.viz.reliability import ReliabilityDisplay, reliability_diagram

__all__ = [
    "LossCurvesDisplay",
    "ReliabilityDisplay",
    "loss_curves",
    "reliability_diagram",
]
