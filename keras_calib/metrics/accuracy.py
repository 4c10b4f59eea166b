"""The fraction of samples that are predicted right."""

from __future__ import annotations

from keras import ops

from keras_calib.arguments import saveable
from keras_calib.metrics.base import MeanMetric
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.types import Tensor

__all__ = ["Accuracy"]


@saveable
class Accuracy(MeanMetric):
    """Fraction of samples whose predicted class is the label.

    The predicted class is the first of the largest probability. Keras's accuracy is the
    same; this one has `ignore_class`, and takes `ops.TokenStatistics`. A sample with a
    soft target counts as the probability that the target gives to the predicted class.

    Example:

    >>> import keras_calib
    >>> accuracy = keras_calib.metrics.Accuracy()
    >>> accuracy.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> float(accuracy.result())
    0.5
    """

    direction = "up"
    reads = ("hit",)

    def values(self, batch: ClassBatch) -> Tensor:
        """Returns 1 for each sample that is predicted right, and 0 for the others."""
        return ops.cast(batch.hit, batch.dtype)
