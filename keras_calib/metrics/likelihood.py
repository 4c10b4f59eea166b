"""How surprising the labels are."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.metrics.base import MeanMetric
from keras_calib.ops.class_batch import ClassBatch


@keras.saving.register_keras_serializable(package="keras_calib")
class NegativeLogLikelihood(MeanMetric):
    """Mean negative log-probability of the labels, in nats.

    Formula:

    ```
    nll = mean(-sum_k y_k log p_k)
    ```

    From logits it is exact however improbable the label: 10000 at a margin of -1e4.
    From probabilities a 0 counts as the smallest normal number, 87.3 nats in
    float32.

    Args:
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments: as of `ExpectedCalibrationError`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> nll = keras_calib.metrics.NegativeLogLikelihood(from_logits=True)
    >>> nll.update_state([1], [[0.0, -10000.0]])
    >>> float(nll.result())
    10000.0
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "negative_log_likelihood",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def values(self, batch: ClassBatch) -> Any:
        """Returns the cross-entropy of each sample."""
        return batch.cross_entropy


@keras.saving.register_keras_serializable(package="keras_calib")
class PredictiveEntropy(MeanMetric):
    """Mean entropy of the predictions, in nats; labels matter to weights only.

    Formula:

    ```
    entropy = mean(-sum_k p_k log p_k)
    ```

    Of a calibrated model it equals the negative log-likelihood on average: below it
    the model is overconfident.

    Args:
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments: as of `ExpectedCalibrationError`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> entropy = keras_calib.metrics.PredictiveEntropy()
    >>> entropy.update_state([0], [[0.5, 0.5]])
    >>> round(float(entropy.result()), 6)
    0.693147
    """

    direction = None

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "predictive_entropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def values(self, batch: ClassBatch) -> Any:
        """Returns the entropy of each sample's prediction."""
        return batch.entropy
