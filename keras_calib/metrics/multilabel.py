"""Calibration of independent binary labels."""

from __future__ import annotations

from keras_calib.arguments import saveable
from keras_calib.metrics.base import GroupedMetric
from keras_calib.ops.binary_batch import BinaryBatch
from keras_calib.ops.events import Events
from keras_calib.types import Tensor

__all__ = ["MultilabelECE"]


@saveable
class MultilabelECE(GroupedMetric):
    """Calibration error of each of L binary labels, averaged over the labels.

    Formula, for label l and bins of its probability with weight n_lm, mean
    probability c_lm and observed rate a_lm; N_l is the sum of n_lm:

    ```
    ece_l = sum_m n_lm / N_l |c_lm - a_lm|,   result = mean_l ece_l
    ```

    It is the mean of `BinaryECE("positive_class")` over the labels. As there, other
    norms may take the place of l1. A label that is always ignored has error 0. The
    error of all labels pooled is
    `sum(metric.statistics()[1:], metric.statistics()[0]).ece()`.

    Args:
        num_bins: the number of bins of each label.
        ignore_class: label that is ignored, such as -1 for unknown.
        axis: the axis of the labels.

    Call arguments:
        y_true: labels in [0, 1] of shape `(..., L)`.
        y_pred: probabilities or logits of shape `(..., L)`.

    Example:

    >>> import keras_calib
    >>> ece = keras_calib.metrics.MultilabelECE(num_bins=2)
    >>> ece.update_state([[0, 1], [1, 1]], [[0.2, 0.9], [0.6, 0.7]])
    >>> round(float(ece.result()), 6)
    0.25
    >>> keras.ops.convert_to_numpy(ece.per_label()).round(6)
    array([0.3, 0.2], dtype=float32)
    """

    def reader(self, y_pred: Tensor) -> type[BinaryBatch]:
        """Returns the class that reads a batch."""
        return BinaryBatch

    def events(self, batch: BinaryBatch) -> Events:
        """Returns every label's probability and whether the label was present."""
        return batch.every_class

    def per_label(self) -> Tensor:
        """Returns the error of each label, of shape (L,)."""
        return self.per_group()
