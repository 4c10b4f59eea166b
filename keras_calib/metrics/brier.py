"""The Brier score."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.metrics.base import MeanMetric
from keras_calib.ops.predictions import Predictions


@keras.saving.register_keras_serializable(package="keras_calib")
class BrierScore(MeanMetric):
    """Mean squared distance between predicted probabilities and labels.

    Formula, summed over classes as Brier had it (0 to 2):

    ```
    score = mean(sum_k (p_k - y_k) ** 2)
    ```

    Args:
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or one-hot or soft
            targets of shape `(..., K)`.
        y_pred: logits or probabilities of shape `(..., K)`, K >= 2.
        sample_weight: weights of shape `(...)` or of its leading axes.

    Raises:
        ValueError: for shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> brier = keras_calib.BrierScore()
    >>> brier.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(brier.result()), 6)
    0.53

    Reference:

    - Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly
      Weather Review 78 (1950).
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "brier_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def values(self, batch: Predictions) -> Any:
        """Returns the squared distance of each sample."""
        return batch.squared_error
