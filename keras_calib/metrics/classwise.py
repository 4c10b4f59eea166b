"""Calibration of the probability of every class."""

from __future__ import annotations

from typing import Unpack

from keras_calib.arguments import in_range, saveable
from keras_calib.metrics.base import GroupedArguments, GroupedMetric
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import Events
from keras_calib.types import Tensor

__all__ = ["ClasswiseECE"]


@saveable
class ClasswiseECE(GroupedMetric):
    """Calibration error of every class's probability, averaged over the classes.

    Formula, for class k and bins of its probability p_k with weight n_km, mean
    probability c_km and frequency a_km of the class; N_k is the sum of n_km:

    ```
    ece_k = sum_m n_km / N_k |c_km - a_km|,   result = mean_k ece_k
    ```

    Another `norm` replaces the l1 norm within each class.

    With a threshold, only probabilities >= the threshold count, also in N_k. A class
    without such probabilities has error 0; if no class has any, the result is NaN. With
    a thousand classes nearly all probabilities are close to 0, where any model is
    calibrated.

    The state is four sums for each class and bin.

    Args:
        num_bins: the number of bins of each class.
        threshold: the smallest probability that counts, in [0, 1].

    Example:

    >>> import keras_calib
    >>> ece = keras_calib.metrics.ClasswiseECE(num_bins=2)
    >>> ece.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(ece.result()), 6)
    0.25
    >>> keras.ops.convert_to_numpy(ece.per_class()).round(6)
    array([0.25, 0.25], dtype=float32)

    References:

    - Kull et al., "Beyond temperature scaling", NeurIPS 2019, section 2.
    - Nixon et al., "Measuring Calibration in Deep Learning", 2019, section 4
      (threshold).
    """

    # `num_bins` is stated for its position.
    def __init__(
        self,
        num_bins: int = 15,
        threshold: float = 0.0,
        **kwargs: Unpack[GroupedArguments],
    ) -> None:
        super().__init__(num_bins, **kwargs)
        self.threshold = in_range("threshold", threshold, 0.0, 1.0)

    def events(self, batch: ClassBatch) -> Events:
        """Returns every class's probability and whether it was the label."""
        if not self.threshold:
            return batch.every_class
        return batch.every_class.at_least(self.threshold)

    def per_class(self) -> Tensor:
        """Returns the error of each class, of shape (K,)."""
        return self.per_group()
