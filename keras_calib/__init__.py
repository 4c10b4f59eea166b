"""Calibration for Keras: losses, streaming metrics, and callbacks that anneal them.

>>> import keras_calib
>>> loss = keras_calib.GammaCE(0.1, from_logits=True)
>>> float(loss.gamma)
0.1
"""

from keras_calib import (
    calibrators as calibrators,
    callbacks as callbacks,
    evaluation as evaluation,
    layers as layers,
    losses as losses,
    metrics as metrics,
    ops as ops,
    serving as serving,
    viz as viz,
)
from keras_calib.calibrators import (
    TemperatureScaling as TemperatureScaling,
    calibrate as calibrate,
)
from keras_calib.evaluation import (
    Evaluation as Evaluation,
    compare as compare,
    evaluate as evaluate,
    evaluate_model as evaluate_model,
)
from keras_calib.layers import (
    FusedHeadModel as FusedHeadModel,
    MultiTaskModel as MultiTaskModel,
)
from keras_calib.losses import (
    AdditiveMarginSoftmax as AdditiveMarginSoftmax,
    AlphaBalancedBCE as AlphaBalancedBCE,
    AlphaBalancedCE as AlphaBalancedCE,
    BinaryFocalCE as BinaryFocalCE,
    CategoricalMeanAbsoluteError as CategoricalMeanAbsoluteError,
    ConfidencePenaltyCE as ConfidencePenaltyCE,
    ExpectedAccuracyLoss as ExpectedAccuracyLoss,
    FocalCE as FocalCE,
    ForwardCorrectedCE as ForwardCorrectedCE,
    GammaBCE as GammaBCE,
    GammaCE as GammaCE,
    GammaPreset as GammaPreset,
    GeneralizedCE as GeneralizedCE,
    GradientHarmonizedBCE as GradientHarmonizedBCE,
    GradientWeightedCE as GradientWeightedCE,
    HardNegativeCE as HardNegativeCE,
    InfoNCE as InfoNCE,
    LabelSmoothingCE as LabelSmoothingCE,
    LogitAdjustedCE as LogitAdjustedCE,
    MulticlassHinge as MulticlassHinge,
    NoiseContrastiveEstimation as NoiseContrastiveEstimation,
    PairwiseAUCLoss as PairwiseAUCLoss,
    PolyLoss as PolyLoss,
    gamma_matched_noise as gamma_matched_noise,
    gamma_presets as gamma_presets,
    noise_floor as noise_floor,
    noise_matched_gamma as noise_matched_gamma,
    starting_weight as starting_weight,
)
from keras_calib.metrics import (
    AURC as AURC,
    AccuracyAtCoverage as AccuracyAtCoverage,
    BinaryECE as BinaryECE,
    BinStatistics as BinStatistics,
    BrierDecomposition as BrierDecomposition,
    BrierScore as BrierScore,
    CalibrationGap as CalibrationGap,
    CalibrationMetrics as CalibrationMetrics,
    ClasswiseECE as ClasswiseECE,
    ExpectedCalibrationError as ExpectedCalibrationError,
    KSCalibrationError as KSCalibrationError,
    MaximumCalibrationError as MaximumCalibrationError,
    MultilabelECE as MultilabelECE,
    NegativeLogLikelihood as NegativeLogLikelihood,
    Perplexity as Perplexity,
    PredictiveEntropy as PredictiveEntropy,
    RefinementLoss as RefinementLoss,
    SmoothECE as SmoothECE,
    TopKCalibrationError as TopKCalibrationError,
)
from keras_calib.ops import check as check

__version__ = "0.2.0"
