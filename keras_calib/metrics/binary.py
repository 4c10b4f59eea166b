"""Calibration of one binary label."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.arguments import one_of
from keras_calib.metrics.base import BinnedMetric
from keras_calib.ops.bin_statistics import calibration_error
from keras_calib.ops.binary_batch import OneLabelBatch
from keras_calib.ops.events import Events


@keras.saving.register_keras_serializable(package="keras_calib")
class BinaryECE(BinnedMetric):
    """Expected calibration error of one binary label, in either definition.

    Both are in use, and on one input they gave .386 and .182:

    - `"positive_class"`: the probability p of the label 1 against its observed
      rate, over bins of p in [0, 1];
    - `"predicted_class"`: the confidence max(p, 1 - p) against the accuracy of the
      prediction p > 1/2, which is `ExpectedCalibrationError` of two classes.

    Formula, for bins of weight n_m with mean probability c_m and rate a_m:

    ```
    ece = sum_m n_m / N |c_m - a_m|
    ```

    Args:
        definition: `"positive_class"` or `"predicted_class"`.
        num_bins: the number of equal-width bins.
        norm: `"l1"`, `"l2"` or `"max"`.
        from_logits: whether predictions are logits.
        ignore_class: label that counts for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments:
        y_true: labels in [0, 1] of shape `(...)` or `(..., 1)`, or one-hot of shape
            `(..., 2)`.
        y_pred: probabilities or logits of the label 1, of shape `(...)` or
            `(..., 1)`, or of both labels, `(..., 2)`.
        sample_weight: weights of shape `(...)` or of its leading axes.

    Raises:
        ValueError: for an unknown definition or norm, `num_bins` < 1 and shapes that
            do not fit.

    Example:

    >>> import keras_calib
    >>> p, y = [0.12, 0.33, 0.61, 0.82, 0.93], [0, 1, 1, 0, 1]
    >>> for definition in ("positive_class", "predicted_class"):
    ...     ece = keras_calib.metrics.BinaryECE(definition, num_bins=5)
    ...     ece.update_state(y, p)
    ...     print(round(float(ece.result()), 6))
    0.386
    0.182
    """

    def __init__(
        self,
        definition: str = "positive_class",
        num_bins: int = 15,
        norm: str = "l1",
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "binary_ece",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_bins,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
        self.definition = one_of(
            "definition", definition, ("positive_class", "predicted_class")
        )
        self.norm = one_of("norm", norm, ("l1", "l2", "max"))

    def reader(self, y_pred: Any) -> type:
        """Returns the class that reads a batch."""
        return OneLabelBatch

    def events(self, batch: OneLabelBatch) -> Events:
        """Returns probabilities and what came out, by the definition."""
        if self.definition == "positive_class":
            return batch.every_label
        return batch.predicted_class

    def result(self) -> Any:
        """Returns the error, in [0, 1]."""
        return calibration_error(self.sums(), self.norm)
