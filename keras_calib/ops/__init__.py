"""Pure functions on tensors. They import keras only and know no class."""

from keras_calib.ops.binary import binary_loss
from keras_calib.ops.binning import bin_index, bin_sums
from keras_calib.ops.cross_entropy import cross_entropy_value, cross_entropy_weight
from keras_calib.ops.focal import focal_value, focal_weight
from keras_calib.ops.gamma import gamma_value, gamma_weight
from keras_calib.ops.labels import class_labels, is_valid
from keras_calib.ops.true_class import true_class_loss

__all__ = [
    "bin_index",
    "bin_sums",
    "binary_loss",
    "class_labels",
    "cross_entropy_value",
    "cross_entropy_weight",
    "focal_value",
    "focal_weight",
    "gamma_value",
    "gamma_weight",
    "is_valid",
    "true_class_loss",
]
