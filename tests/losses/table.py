"""The losses that every common test runs. A new loss is a row here."""

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib import losses
from keras_calib.arguments import default_name, signature


@keras.saving.register_keras_serializable(package="tests")
def twice(p):
    """The weight of the mean absolute error, as a user would write it."""
    return 2.0 * ops.ones_like(p)


@dataclass(frozen=True)
class Row:
    """A loss: call it to make one."""

    loss: type
    arguments: dict[str, Any] = field(default_factory=dict)
    # It refuses probabilities, or takes scores that are neither.
    logits_only: bool = False
    # It refuses targets over the classes.
    integers_only: bool = False
    # The row of the loss that it minimizes, where its value is not that loss.
    minimizes: str | None = None
    # Its gradient is that of no loss.
    no_loss: bool = False

    def __call__(self, **kwargs):
        if "from_logits" not in signature(self.loss).parameters:
            kwargs.pop("from_logits", None)
        return self.loss(**{**self.arguments, **kwargs})

    def batch(self):
        """Returns labels that the loss takes, more than half of them 0, and logits."""
        rng = np.random.default_rng(0)
        z, true = rng.normal(0, 3, (4, 6, 5)), rng.integers(0, 2, (4, 6, 5))
        if issubclass(self.loss, losses.ClassLoss):
            return true[..., 0] * rng.integers(0, 5, (4, 6)), z
        true = true.astype("float32")
        if issubclass(self.loss, losses.BinaryLoss):
            return true, z
        return true[..., 0].ravel(), z[..., 0].ravel()

    @property
    def function(self):
        """The function form of the loss."""
        return getattr(losses, default_name(self.loss))


ALPHA = [0.5, 1.0, 2.0, 1.0, 0.25]
# Class 0 keeps all its labels, no label is only its own, and no row is as another.
TRANSITION = [
    [1.0, 0.0, 0.0, 0.0, 0.0],
    [0.3, 0.7, 0.0, 0.0, 0.0],
    [0.0, 0.1, 0.5, 0.4, 0.0],
    [0.1, 0.1, 0.1, 0.6, 0.1],
    [0.0, 0.2, 0.0, 0.0, 0.8],
]

# Functions of the probability of the true class.
TRUE_CLASS = {
    "gamma": Row(losses.GammaCE, {"gamma": 0.1}),
    "gamma_floor": Row(losses.GammaCE, {"gamma": 0.5, "floor": 0.3}),
    "gamma_stop_gradient": Row(
        losses.GammaCE,
        {"gamma": 0.1, "formulation": "stop_gradient"},
        minimizes="gamma",
    ),
    "gamma_smoothed": Row(losses.GammaCE, {"gamma": 0.1, "label_smoothing": 0.1}),
    "gamma_0": Row(losses.GammaCE, {"gamma": 0.0}),
    "gamma_1": Row(losses.GammaCE, {"gamma": 1.0}),
    "smoothing_uniform": Row(losses.LabelSmoothingCE),
    "smoothing_others": Row(losses.LabelSmoothingCE, {"convention": "others"}),
    "focal": Row(losses.FocalCE),
    "focal_half": Row(losses.FocalCE, {"gamma": 0.5}),
    "focal_alpha": Row(losses.FocalCE, {"alpha": ALPHA}),
    "focal_smoothed": Row(losses.FocalCE, {"alpha": ALPHA, "label_smoothing": 0.1}),
    "gce": Row(losses.GeneralizedCE),
    "gce_stop_gradient": Row(
        losses.GradientWeightedCE, {"weight": "gce"}, minimizes="gce"
    ),
    "gce_0": Row(losses.GeneralizedCE, {"q": 0.0}),
    "gce_truncated": Row(losses.GeneralizedCE, {"truncation": 0.3}),
    "mae": Row(losses.CategoricalMeanAbsoluteError),
    "mae_stop_gradient": Row(
        losses.GradientWeightedCE, {"weight": twice}, minimizes="mae"
    ),
    "poly": Row(losses.PolyLoss),
    "poly_dropped": Row(losses.PolyLoss, {"epsilons": [-1.0, -0.5, 1.0]}),
    "alpha_balanced": Row(losses.AlphaBalancedCE, {"alpha": ALPHA}),
    "logit_adjusted": Row(losses.LogitAdjustedCE, {"priors": ALPHA}, logits_only=True),
    "additive_margin": Row(
        losses.AdditiveMarginSoftmax, {"scale": 2.0}, logits_only=True
    ),
    "info_nce": Row(losses.InfoNCE, {"temperature": 2.0}, logits_only=True),
}

# The other losses of one label of K classes.
OTHERS = {
    "confidence_penalty": Row(losses.ConfidencePenaltyCE),
    "entropy_gated": Row(losses.EntropyGatedCE, no_loss=True),
    "exact": Row(
        losses.ExpectedAccuracyLoss, {"sigma": 2.0, "nodes": 32}, logits_only=True
    ),
    "exact_log_margin": Row(
        losses.ExpectedAccuracyLoss,
        {"sigma": 2.0, "margin": 3.0, "log": True, "nodes": 32},
        logits_only=True,
    ),
    "smooth_accuracy": Row(losses.ExpectedAccuracyLoss, {"noise": "gumbel"}),
    "smooth_accuracy_margin": Row(
        losses.ExpectedAccuracyLoss,
        {"noise": "gumbel", "sigma": 2.0, "margin": 3.0},
        logits_only=True,
    ),
    "forward_corrected": Row(losses.ForwardCorrectedCE, {"transition": TRANSITION}),
    "hinge_max": Row(losses.MulticlassHinge, logits_only=True),
    "hinge_sum": Row(losses.MulticlassHinge, {"form": "sum"}, logits_only=True),
    "hinge_softplus": Row(
        losses.MulticlassHinge, {"form": "softplus", "margin": 0.5}, logits_only=True
    ),
    "nce": Row(
        losses.NoiseContrastiveEstimation, {"noise_probability": 0.1}, logits_only=True
    ),
}

ALL = TRUE_CLASS | OTHERS

# Losses of independent labels.
BINARY = {
    "gamma": Row(losses.GammaBCE, {"gamma": 0.1}),
    "gamma_sum": Row(losses.GammaBCE, {"gamma": 0.1, "label_reduction": "sum"}),
    "gamma_floor": Row(losses.GammaBCE, {"gamma": 0.5, "floor": 0.3}),
    "gamma_smoothed": Row(losses.GammaBCE, {"gamma": 0.1, "label_smoothing": 0.1}),
    "focal": Row(losses.BinaryFocalCE),
    "focal_alpha": Row(losses.BinaryFocalCE, {"alpha": 0.25}),
    "focal_smoothed": Row(
        losses.BinaryFocalCE, {"alpha": 0.25, "label_smoothing": 0.1}
    ),
    "alpha_balanced": Row(losses.AlphaBalancedBCE),
}

# Losses of a batch, which is more than the sum of its samples.
OF_A_BATCH = {
    "gradient_harmonized": Row(losses.GradientHarmonizedBCE),
    "hard_negative": Row(losses.HardNegativeCE, integers_only=True),
    "pairwise_auc": Row(losses.PairwiseAUCLoss, logits_only=True),
}
