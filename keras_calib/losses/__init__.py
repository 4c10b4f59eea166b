"""Losses that shape confidence while a model trains."""

from keras_calib.losses.base import BinaryLoss, TrueClassLoss
from keras_calib.losses.focal import BinaryFocalCE, FocalCE
from keras_calib.losses.gamma import GammaBCE, GammaCE
from keras_calib.losses.hyperparameter import Hyperparameter
from keras_calib.losses.label_smoothing import LabelSmoothingCE

__all__ = [
    "BinaryFocalCE",
    "BinaryLoss",
    "FocalCE",
    "GammaBCE",
    "GammaCE",
    "Hyperparameter",
    "LabelSmoothingCE",
    "TrueClassLoss",
]
