"""Calibration of the probability of every class."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.arguments import in_range
from keras_calib.metrics.base import GroupedMetric
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import Events


@keras.saving.register_keras_serializable(package="keras_calib")
class ClasswiseECE(GroupedMetric):
    """Calibration error of every class's probability, averaged over the classes.

    Formula, for class k and bins of its probability p_k with weight n_km, mean
    probability c_km and share a_km of samples of that class, N_k their sum:

    ```
    ece_k = sum_m n_km / N_k |c_km - a_km|,   result = mean_k ece_k
    ```

    With a threshold only probabilities >= the threshold count, N_k of them: of a
    thousand classes nearly all probabilities are next to 0, where any model is
    calibrated.

    The state is four sums for each class and bin.

    Args:
        num_bins: the number of equal-width bins of each class.
        threshold: the smallest probability that counts, in [0, 1].
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments: as of `ExpectedCalibrationError`.

    Raises:
        ValueError: for `num_bins` < 1, a threshold outside [0, 1] and shapes that do
            not fit.

    Example:

    >>> import keras_calib
    >>> ece = keras_calib.metrics.ClasswiseECE(num_bins=2)
    >>> ece.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(ece.result()), 6)
    0.25
    >>> np.asarray(ece.per_class()).round(6)
    array([0.25, 0.25], dtype=float32)

    References:

    - Kull et al., "Beyond temperature scaling", NeurIPS 2019, section 2.
    - Nixon et al., "Measuring Calibration in Deep Learning", 2019, section 4
      (threshold).
    """

    def __init__(
        self,
        num_bins: int = 15,
        threshold: float = 0.0,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "classwise_ece",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_bins,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
        self.threshold = in_range("threshold", threshold, 0.0, 1.0)

    def events(self, batch: ClassBatch) -> Events:
        """Returns every class's probability and whether it was the label."""
        if not self.threshold:
            return batch.every_class
        return batch.every_class.at_least(self.threshold)

    def per_class(self) -> Any:
        """Returns the error of each class, of shape (K,)."""
        return self.per_group()
