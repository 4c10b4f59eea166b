"""The losses that every common test runs. A new loss is a row here."""

import keras
from keras import ops

from keras_calib import losses


@keras.saving.register_keras_serializable(package="tests")
def twice(p):
    """The weight of the mean absolute error, as a user would write it."""
    return 2.0 * ops.ones_like(p)


# name -> constructor of a loss over K classes, called with keyword arguments.
TRUE_CLASS = {
    "gamma": lambda **kw: losses.GammaCE(0.1, **kw),
    "gamma_floor": lambda **kw: losses.GammaCE(0.5, floor=0.3, **kw),
    "gamma_stop_gradient": lambda **kw: losses.GammaCE(
        0.1, formulation="stop_gradient", **kw
    ),
    "gamma_smoothed": lambda **kw: losses.GammaCE(0.1, label_smoothing=0.1, **kw),
    "gamma_0": lambda **kw: losses.GammaCE(0.0, **kw),
    "gamma_1": lambda **kw: losses.GammaCE(1.0, **kw),
    "smoothing_uniform": lambda **kw: losses.LabelSmoothingCE(0.1, **kw),
    "smoothing_others": lambda **kw: losses.LabelSmoothingCE(0.1, "others", **kw),
    "focal": lambda **kw: losses.FocalCE(2.0, **kw),
    "focal_half": lambda **kw: losses.FocalCE(0.5, **kw),
    "focal_alpha": lambda **kw: losses.FocalCE(
        2.0, alpha=[0.5, 1.0, 2.0, 1.0, 0.25], **kw
    ),
    "gce": lambda **kw: losses.GeneralizedCE(0.7, **kw),
    "gce_stop_gradient": lambda **kw: losses.GradientWeightedCE("gce", **kw),
    "gce_0": lambda **kw: losses.GeneralizedCE(0.0, **kw),
    "gce_truncated": lambda **kw: losses.GeneralizedCE(0.7, truncation=0.3, **kw),
    "mae": lambda **kw: losses.CategoricalMeanAbsoluteError(**kw),
    "mae_stop_gradient": lambda **kw: losses.GradientWeightedCE(twice, **kw),
    "poly": lambda **kw: losses.PolyLoss(1.0, **kw),
    "poly_dropped": lambda **kw: losses.PolyLoss([-1.0, -0.5, 1.0], **kw),
    "alpha_balanced": lambda **kw: losses.AlphaBalancedCE(
        [0.5, 1.0, 2.0, 1.0, 0.25], **kw
    ),
    "additive_margin": lambda from_logits, **kw: losses.AdditiveMarginSoftmax(
        0.35, 2.0, **kw
    ),
    "info_nce": lambda from_logits, **kw: losses.InfoNCE(2.0, **kw),
}

# name -> constructor of a loss over K classes that is no function of p_y alone.
OTHERS = {
    "confidence_penalty": lambda **kw: losses.ConfidencePenaltyCE(0.1, **kw),
    "exact": lambda **kw: losses.ExpectedAccuracyLoss(sigma=2.0, nodes=32, **kw),
    "exact_log_margin": lambda **kw: losses.ExpectedAccuracyLoss(
        sigma=2.0, margin=3.0, log=True, nodes=32, **kw
    ),
    "smooth_accuracy": lambda **kw: losses.ExpectedAccuracyLoss("gumbel", **kw),
    "smooth_accuracy_margin": lambda **kw: losses.ExpectedAccuracyLoss(
        "gumbel", 2.0, 3.0, **kw
    ),
    "hinge_max": lambda from_logits, **kw: losses.MulticlassHinge("max", **kw),
    "hinge_sum": lambda from_logits, **kw: losses.MulticlassHinge("sum", **kw),
    "hinge_softplus": lambda from_logits, **kw: losses.MulticlassHinge(
        "softplus", 0.5, **kw
    ),
    "nce": lambda from_logits, **kw: losses.NoiseContrastiveEstimation(0.1, **kw),
}

ALL = TRUE_CLASS | OTHERS

# Losses that refuse probabilities, or take scores that are neither.
OF_LOGITS_ONLY = {
    "exact",
    "exact_log_margin",
    "smooth_accuracy_margin",
    "additive_margin",
    "info_nce",
    "hinge_max",
    "hinge_sum",
    "hinge_softplus",
    "nce",
}

# name -> constructor of a loss over independent labels.
BINARY = {
    "gamma": lambda **kw: losses.GammaBCE(0.1, **kw),
    "gamma_sum": lambda **kw: losses.GammaBCE(0.1, label_reduction="sum", **kw),
    "gamma_floor": lambda **kw: losses.GammaBCE(0.5, floor=0.3, **kw),
    "focal": lambda **kw: losses.BinaryFocalCE(2.0, **kw),
    "focal_alpha": lambda **kw: losses.BinaryFocalCE(2.0, alpha=0.25, **kw),
    "alpha_balanced": lambda **kw: losses.AlphaBalancedBCE(0.25, **kw),
}
