"""Cross-entropy that rewards entropy."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.arguments import in_range
from keras_calib.losses.base import ClassLoss
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.types import Tensor


@keras.saving.register_keras_serializable(package="keras_calib")
class ConfidencePenaltyCE(ClassLoss):
    """Cross-entropy minus the entropy of the predictions.

    Formula, for predictions p and the true class y:

    ```
    loss = -log p_y - beta * H(p),   H(p) = -sum_i p_i log p_i
    ```

    It is cross-entropy + beta KL(p || uniform) - beta log K, where label smoothing
    has KL(uniform || p). It leaves the model underconfident (where the true
    probability of a class is 0.7 it says 0.68 at beta = 0.1), and it can be
    negative.

    Args:
        beta: weight of the entropy, at least 0.
        from_logits: whether `y_pred` are logits.
        ignore_class: integer label whose samples count for nothing.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets t of shape
            `(..., K)`, which give sum_i t_i (-log p_i) - beta H(p).
        y_pred: logits or probabilities of shape `(..., K)`.

    Raises:
        ValueError: for arguments out of range and shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.ConfidencePenaltyCE(0.1)
    >>> round(float(loss([0], [[0.7, 0.2, 0.1]])), 6)
    0.276493

    Reference:

    - Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output
      Distributions", ICLR 2017 workshop,
      [arXiv:1701.06548](https://arxiv.org/abs/1701.06548), section 3.
    """

    def __init__(
        self,
        beta: float = 0.1,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "confidence_penalty_ce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.beta = in_range("beta", beta, 0.0, float("inf"))

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample."""
        return batch.cross_entropy - self.beta * batch.entropy
