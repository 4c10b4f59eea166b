"""Losses that shape confidence while a model trains."""

from keras_calib.losses.alpha_balanced import (
    AlphaBalancedBCE,
    AlphaBalancedCE,
    alpha_balanced_bce,
    alpha_balanced_ce,
)
from keras_calib.losses.base import (
    BinaryLoss,
    CalibrationLoss,
    ClassLoss,
    TrueClassLoss,
)
from keras_calib.losses.confidence_penalty import (
    ConfidencePenaltyCE,
    confidence_penalty_ce,
)
from keras_calib.losses.contrast import (
    InfoNCE,
    NoiseContrastiveEstimation,
    info_nce,
    noise_contrastive_estimation,
)
from keras_calib.losses.expected_accuracy import (
    ExpectedAccuracyLoss,
    expected_accuracy_loss,
)
from keras_calib.losses.focal import BinaryFocalCE, FocalCE, binary_focal_ce, focal_ce
from keras_calib.losses.gamma import GammaBCE, GammaCE, gamma_bce, gamma_ce
from keras_calib.losses.gamma_choice import (
    gamma_matched_noise,
    noise_matched_gamma,
    starting_weight,
)
from keras_calib.losses.gamma_presets import GammaPreset, gamma_presets
from keras_calib.losses.gradient_harmonized import (
    GradientHarmonizedBCE,
    gradient_harmonized_bce,
)
from keras_calib.losses.gradient_weighted import (
    GradientWeightedCE,
    gradient_weighted_ce,
)
from keras_calib.losses.hard_negative import HardNegativeCE, hard_negative_ce
from keras_calib.losses.hyperparameter import Hyperparameter
from keras_calib.losses.label_smoothing import LabelSmoothingCE, label_smoothing_ce
from keras_calib.losses.margin import (
    AdditiveMarginSoftmax,
    MulticlassHinge,
    additive_margin_softmax,
    multiclass_hinge,
)
from keras_calib.losses.poly import PolyLoss, poly_loss
from keras_calib.losses.ranking import PairwiseAUCLoss, pairwise_auc_loss
from keras_calib.losses.robust import (
    CategoricalMeanAbsoluteError,
    GeneralizedCE,
    categorical_mean_absolute_error,
    generalized_ce,
)

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
    "additive_margin_softmax",
    "alpha_balanced_bce",
    "alpha_balanced_ce",
    "binary_focal_ce",
    "categorical_mean_absolute_error",
    "confidence_penalty_ce",
    "expected_accuracy_loss",
    "focal_ce",
    "gamma_bce",
    "gamma_ce",
    "gamma_matched_noise",
    "gamma_presets",
    "generalized_ce",
    "gradient_harmonized_bce",
    "gradient_weighted_ce",
    "hard_negative_ce",
    "info_nce",
    "label_smoothing_ce",
    "multiclass_hinge",
    "noise_contrastive_estimation",
    "noise_matched_gamma",
    "pairwise_auc_loss",
    "poly_loss",
    "starting_weight",
]
