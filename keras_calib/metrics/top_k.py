"""Calibration of the k most probable classes together."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.arguments import whole_number
from keras_calib.metrics.base import BinnedMetric
from keras_calib.ops.bin_statistics import calibration_error
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import Events


@keras.saving.register_keras_serializable(package="keras_calib")
class TopKCalibrationError(BinnedMetric):
    """Calibration error of "the label is among the k most probable classes".

    Formula, with the confidence s = p_(1) + ... + p_(k) of the k largest
    probabilities, and bins of s of weight n_m, mean confidence c_m and share a_m of
    samples whose label is among the k:

    ```
    error = sum_m n_m / N |c_m - a_m|
    ```

    k = 1 is the expected calibration error, k = K is 0.

    Args:
        k: how many classes, at most K.
        num_bins: the number of equal-width bins.
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments: as of `ExpectedCalibrationError`.

    Raises:
        ValueError: for `k` or `num_bins` < 1, k > K and shapes that do not fit.

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

    def __init__(
        self,
        k: int = 5,
        num_bins: int = 15,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "top_k_calibration_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_bins,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
        self.k = whole_number("k", k)

    def events(self, batch: ClassBatch) -> Events:
        """Returns the mass of the top k and whether it holds the label."""
        return batch.top(self.k)

    def result(self) -> Any:
        """Returns the error, in [0, 1]."""
        return calibration_error(self.sums(), "l1")
