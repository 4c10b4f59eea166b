"""Calibration of independent binary labels."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.metrics.base import GroupedMetric
from keras_calib.ops.binary_batch import BinaryBatch
from keras_calib.ops.events import Events


@keras.saving.register_keras_serializable(package="keras_calib")
class MultilabelECE(GroupedMetric):
    """Calibration error of each of L binary labels, averaged over the labels.

    Formula, for label l and bins of its probability with weight n_lm, mean
    probability c_lm and observed rate a_lm:

    ```
    ece_l = sum_m n_lm / N_l |c_lm - a_lm|,   result = mean_l ece_l
    ```

    It is the mean of `BinaryECE("positive_class")`; a label that was never known
    counts as 0. Of the labels pooled together the error is
    `sum(metric.statistics()[1:], metric.statistics()[0]).ece()`.

    Args:
        num_bins: the number of equal-width bins of each label.
        from_logits: whether predictions are logits.
        ignore_class: label, such as -1 for unknown, that counts for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments:
        y_true: labels in [0, 1] of shape `(..., L)`.
        y_pred: probabilities or logits of shape `(..., L)`.
        sample_weight: weights of shape `(...)` or of its leading axes.

    Raises:
        ValueError: for `num_bins` < 1 and shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> ece = keras_calib.metrics.MultilabelECE(num_bins=2)
    >>> ece.update_state([[0, 1], [1, 1]], [[0.2, 0.9], [0.6, 0.7]])
    >>> round(float(ece.result()), 6)
    0.25
    >>> np.asarray(ece.per_label()).round(6)
    array([0.3, 0.2], dtype=float32)
    """

    def __init__(
        self,
        num_bins: int = 15,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "multilabel_ece",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_bins,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def reader(self, y_pred: Any) -> type:
        """Returns the class that reads a batch."""
        return BinaryBatch

    def events(self, batch: BinaryBatch) -> Events:
        """Returns every label's probability and whether it was there."""
        return batch.every_label

    def per_label(self) -> Any:
        """Returns the error of each label, of shape (L,)."""
        return self.per_group()
