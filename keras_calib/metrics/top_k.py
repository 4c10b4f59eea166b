"""Calibration of the k most probable classes together."""

from __future__ import annotations

from typing import Unpack

from keras_calib.arguments import saveable, whole_number
from keras_calib.metrics.base import BinnedMetric, MetricArguments
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import Events

__all__ = ["TopKCalibrationError"]


@saveable
class TopKCalibrationError(BinnedMetric):
    """Calibration error of "the label is among the k most probable classes".

    Formula, with the confidence s = p_(1) + ... + p_(k) of the k largest
    probabilities, and bins of s with weight n_m, mean confidence c_m and fraction a_m
    of samples whose label is among the k:

    ```
    error = sum_m n_m / N |c_m - a_m|
    ```

    For k = 1 it is the expected calibration error, for k = K it is 0.

    Args:
        k: the number of classes, at most K.

    Raises:
        ValueError: if `k` > K.

    Example:

    >>> import keras_calib
    >>> error = keras_calib.metrics.TopKCalibrationError(k=2, num_bins=2)
    >>> error.update_state([0, 1], [[0.6, 0.3, 0.1], [0.6, 0.1, 0.3]])
    >>> round(float(error.result()), 6)
    0.4

    Reference:

    - Gupta et al., "Calibration of Neural Networks using Splines", ICLR 2021,
      section 3 (within-top-r).
    """

    # `num_bins` is stated for its position.
    def __init__(
        self, k: int = 5, num_bins: int = 15, **kwargs: Unpack[MetricArguments]
    ) -> None:
        super().__init__(num_bins, **kwargs)
        self.k = whole_number("k", k)

    def events(self, batch: ClassBatch) -> Events:
        """Returns the probability of the top k and whether they hold the label."""
        return batch.top(self.k)
