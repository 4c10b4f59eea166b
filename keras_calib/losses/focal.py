"""Focal loss, for one label of K classes and for independent labels."""

from collections.abc import Sequence
from typing import Any, Unpack

from keras_calib.arguments import in_range, saveable, unless_none
from keras_calib.losses.base import (
    BinaryLoss,
    BinaryLossArguments,
    CalibrationLoss,
    ClassLossArguments,
    TrueClassLoss,
    class_factors,
)
from keras_calib.losses.functions import function_of
from keras_calib.ops.binary_batch import BinaryBatch
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.focal import focal_value, focal_weight
from keras_calib.types import Tensor

__all__ = ["BinaryFocalCE", "FocalCE", "binary_focal_ce", "focal_ce"]


class _Focal(CalibrationLoss):
    """Base of both focal losses.

    Args:
        gamma: focusing exponent, at least 0; 0 gives cross-entropy. It shares only the
            name with the gamma of `GammaCE`.
    """

    # The losses state all arguments: `alpha`, the second one, differs between them.
    def __init__(self, gamma: float, label_smoothing: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gamma = in_range("gamma", gamma, 0.0, float("inf"))
        self.label_smoothing = in_range("label_smoothing", label_smoothing, 0.0, 1.0)

    def value(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns (1 - p)^gamma (-log p)."""
        return focal_value(log_p, p, q, self.gamma)

    def weight(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns -dl/dlog_p."""
        return focal_weight(log_p, p, q, self.gamma)


@saveable
class FocalCE(_Focal, TrueClassLoss):
    """Focal loss between labels and predictions.

    Formula, for the probability p of the true class y:

    ```
    loss = alpha[y] * (1 - p) ** gamma * -log p
    ```

    It reduces the weight of samples that are already right, the opposite of `GammaCE`,
    and makes the model underconfident. Unlike
    `keras.losses.CategoricalFocalCrossentropy` it takes integer labels, clips
    nothing and keeps the gradient of the hardest samples.

    Args:
        alpha: one factor for each class, or one for all; `None` for 1.
        label_smoothing: number e in [0, 1]: targets t become (1 - e) t + e / K, as in
            Keras, before the formula is applied.

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
        label_smoothing: float = 0.0,
        **kwargs: Unpack[ClassLossArguments],
    ) -> None:
        super().__init__(gamma, label_smoothing, **kwargs)
        self.alpha = self.class_weights = class_factors("alpha", alpha)

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample."""
        smoothed = batch.smoothed(self.label_smoothing)
        return smoothed.loss(self.value, self.weight, class_weights=self.alpha)


focal_ce = function_of(FocalCE)


@saveable
class BinaryFocalCE(_Focal, BinaryLoss):
    """Focal loss of independent binary labels (multi-label, sigmoid).

    Formula, for each label with p the probability of its own outcome:

    ```
    loss = reduce(alpha_t * (1 - p) ** gamma * -log p, axis=-1)
    ```

    with alpha_t = alpha for y = 1 and 1 - alpha for y = 0.

    Args:
        alpha: number in [0, 1], the weight of the positives against the negatives;
            `None` gives both the weight 1.
        label_smoothing: number e in [0, 1]: labels y become (1 - e) y + e / 2, as in
            Keras, before the formula is applied.

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
        label_smoothing: float = 0.0,
        **kwargs: Unpack[BinaryLossArguments],
    ) -> None:
        super().__init__(gamma, label_smoothing, **kwargs)
        self.alpha = unless_none(in_range, "alpha", alpha, 0.0, 1.0)
        if self.alpha is not None:
            self.positive_weight, self.negative_weight = self.alpha, 1.0 - self.alpha

    def label_losses(self, batch: BinaryBatch) -> Tensor:
        """Returns the loss of each label."""
        return batch.smoothed(self.label_smoothing).loss(
            self.value,
            self.weight,
            positive_weight=self.positive_weight,
            negative_weight=self.negative_weight,
        )


binary_focal_ce = function_of(BinaryFocalCE)
