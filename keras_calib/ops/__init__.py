"""Pure functions on tensors, which know no loss, metric or layer."""

from keras_calib.ops.binary_batch import BinaryBatch, binary_loss
from keras_calib.ops.binning import bin_index, bin_sums
from keras_calib.ops.checks import check
from keras_calib.ops.class_batch import ClassBatch, true_class_loss
from keras_calib.ops.class_loss import class_loss
from keras_calib.ops.cross_entropy import cross_entropy_value, cross_entropy_weight
from keras_calib.ops.entropy import entropy
from keras_calib.ops.expected_accuracy import log_argmax_probability
from keras_calib.ops.focal import focal_value, focal_weight
from keras_calib.ops.gamma import gamma_value, gamma_weight
from keras_calib.ops.gradient_harmonized import harmonizing_weights
from keras_calib.ops.hard_negative import hardest_negatives
from keras_calib.ops.labels import class_labels, is_valid
from keras_calib.ops.margin import margin_value, margin_weight, multiclass_hinge
from keras_calib.ops.normal import log_ndtr
from keras_calib.ops.poly import poly_value, poly_weight
from keras_calib.ops.robust import (
    gce_value,
    gce_weight,
    mae_value,
    mae_weight,
    smooth_error_value,
    smooth_error_weight,
)
from keras_calib.ops.weights import NAMED_WEIGHTS

__all__ = [
    "NAMED_WEIGHTS",
    "BinaryBatch",
    "ClassBatch",
    "bin_index",
    "bin_sums",
    "binary_loss",
    "check",
    "class_labels",
    "class_loss",
    "cross_entropy_value",
    "cross_entropy_weight",
    "entropy",
    "focal_value",
    "focal_weight",
    "gamma_value",
    "gamma_weight",
    "gce_value",
    "gce_weight",
    "hardest_negatives",
    "harmonizing_weights",
    "is_valid",
    "log_argmax_probability",
    "log_ndtr",
    "mae_value",
    "mae_weight",
    "margin_value",
    "margin_weight",
    "multiclass_hinge",
    "poly_value",
    "poly_weight",
    "smooth_error_value",
    "smooth_error_weight",
    "true_class_loss",
]
