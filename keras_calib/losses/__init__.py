"""Losses that shape confidence while a model trains."""

from keras_calib.losses.alpha_balanced import AlphaBalancedBCE, AlphaBalancedCE
from keras_calib.losses.base import (
    BinaryLoss,
    CalibrationLoss,
    ClassLoss,
    TrueClassLoss,
)
from keras_calib.losses.confidence_penalty import ConfidencePenaltyCE
from keras_calib.losses.contrast import InfoNCE, NoiseContrastiveEstimation
from keras_calib.losses.expected_accuracy import ExpectedAccuracyLoss
from keras_calib.losses.focal import BinaryFocalCE, FocalCE
from keras_calib.losses.gamma import GammaBCE, GammaCE
from keras_calib.losses.gamma_choice import (
    gamma_matched_noise,
    noise_matched_gamma,
    starting_weight,
)
from keras_calib.losses.gamma_presets import GammaPreset, gamma_presets
from keras_calib.losses.gradient_harmonized import GradientHarmonizedBCE
from keras_calib.losses.gradient_weighted import GradientWeightedCE
from keras_calib.losses.hard_negative import HardNegativeCE
from keras_calib.losses.hyperparameter import Hyperparameter
from keras_calib.losses.label_smoothing import LabelSmoothingCE
from keras_calib.losses.margin import AdditiveMarginSoftmax, MulticlassHinge
from keras_calib.losses.poly import PolyLoss
from keras_calib.losses.ranking import PairwiseAUCLoss
from keras_calib.losses.robust import CategoricalMeanAbsoluteError, GeneralizedCE

__all__ = [
    "AdditiveMarginSoftmax",
    "AlphaBalancedBCE",
    "AlphaBalancedCE",
    "BinaryFocalCE",
    "BinaryLoss",
    "CalibrationLoss",
    "CategoricalMeanAbsoluteError",
    "ClassLoss",
    "ConfidencePenaltyCE",
    "ExpectedAccuracyLoss",
    "FocalCE",
    "GammaBCE",
    "GammaCE",
    "GammaPreset",
    "GeneralizedCE",
    "GradientHarmonizedBCE",
    "GradientWeightedCE",
    "HardNegativeCE",
    "Hyperparameter",
    "InfoNCE",
    "LabelSmoothingCE",
    "MulticlassHinge",
    "NoiseContrastiveEstimation",
    "PairwiseAUCLoss",
    "PolyLoss",
    "TrueClassLoss",
    "gamma_matched_noise",
    "gamma_presets",
    "noise_matched_gamma",
    "starting_weight",
]
