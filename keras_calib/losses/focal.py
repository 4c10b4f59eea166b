"""Focal loss, for one label of K and for independent labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_calib.arguments import in_range
from keras_calib.losses.base import BinaryLoss, TrueClassLoss
from keras_calib.ops.focal import focal_value, focal_weight


class _Focal:
    """The value and weight that both losses share."""

    gamma: float

    def value(self, log_p, p, q):
        return focal_value(log_p, p, q, self.gamma)

    def weight(self, log_p, p, q):
        return focal_weight(log_p, p, q, self.gamma)


@keras.saving.register_keras_serializable(package="keras_calib")
class FocalCE(_Focal, TrueClassLoss):
    """Focal loss between labels and predictions.

    Formula, for the probability p of the true class:

    ```
    loss = alpha * (1 - p) ** gamma * -log p
    ```

    It turns from samples already right to hard ones, the opposite of `GammaCE`,
    and leaves the model underconfident. Unlike
    `keras.losses.CategoricalFocalCrossentropy` it takes integer labels, clips
    nothing and keeps the gradient of the hardest samples.

    Args:
        gamma: focusing exponent, at least 0; 0 is cross-entropy. The names agree
            in the literature only: it is not the gamma of `GammaCE`.
        alpha: one factor for each class, or one for all; `None` for 1.
        from_logits: whether `y_pred` are logits.
        ignore_class: integer label whose samples count for nothing.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets t of shape
            `(..., K)`, which give sum_i t_i loss(p_i).
        y_pred: logits or probabilities of shape `(..., K)`.

    Raises:
        ValueError: for arguments out of range and shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.FocalCE(2.0)
    >>> round(float(loss([0], [[0.9, 0.1]])), 8)
    0.00105361

    Reference:

    - Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 3.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Sequence[float] | None = None,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "focal_ce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.gamma = in_range("gamma", gamma, 0.0, float("inf"))
        self.alpha = class_factors("alpha", alpha)

    @property
    def class_weights(self) -> float | list[float] | None:
        """One factor for each class."""
        return self.alpha


@keras.saving.register_keras_serializable(package="keras_calib")
class BinaryFocalCE(_Focal, BinaryLoss):
    """Focal loss of independent binary labels (sigmoid outputs).

    Formula, for each label with p the probability of its own outcome:

    ```
    loss = reduce(alpha_t * (1 - p) ** gamma * -log p, axis=-1)
    ```

    with alpha_t = alpha for y = 1 and 1 - alpha for y = 0.

    Args:
        gamma: focusing exponent, at least 0; 0 is binary cross-entropy.
        alpha: in [0, 1], the weight of the positives against the negatives; `None`
            weighs both by 1.
        label_reduction: `"mean"` over the last axis, the Keras habit, or `"sum"`.
        from_logits: whether `y_pred` are logits.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: labels in [0, 1] of shape `(..., L)`.
        y_pred: logits or probabilities of the same shape.

    Raises:
        ValueError: for arguments out of range and shapes that differ.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.BinaryFocalCE(2.0, alpha=0.25)
    >>> round(float(loss([[1]], [[0.9]])), 9)
    0.000263401

    Reference:

    - Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 3.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = None,
        *,
        label_reduction: str = "mean",
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_ce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            label_reduction=label_reduction,
            from_logits=from_logits,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.gamma = in_range("gamma", gamma, 0.0, float("inf"))
        self.alpha = None if alpha is None else in_range("alpha", alpha, 0.0, 1.0)
        if self.alpha is not None:
            self.positive_weight, self.negative_weight = self.alpha, 1.0 - self.alpha


def class_factors(
    name: str, value: float | Sequence[float] | None
) -> float | list[float] | None:
    """Returns a factor for all classes, or one for each, checked to be >= 0."""
    if value is None or isinstance(value, int | float):
        return None if value is None else in_range(name, value, 0.0, float("inf"))
    return [in_range(name, v, 0.0, float("inf")) for v in value]
