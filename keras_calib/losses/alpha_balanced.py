"""Cross-entropy with a factor for each class, or for positives and negatives."""

from collections.abc import Sequence
from typing import Unpack

from keras_calib.arguments import in_range, saveable
from keras_calib.losses.base import (
    BinaryLoss,
    BinaryLossArguments,
    ClassLossArguments,
    CrossEntropy,
    TrueClassLoss,
    class_factors,
)
from keras_calib.losses.functions import function_of

__all__ = [
    "AlphaBalancedBCE",
    "AlphaBalancedCE",
    "alpha_balanced_bce",
    "alpha_balanced_ce",
]


@saveable
class AlphaBalancedCE(CrossEntropy, TrueClassLoss):
    """Cross-entropy with a factor for each class.

    Formula, for the probability p of the true class y:

    ```
    loss = -alpha[y] * log p
    ```

    It trains as if class k were alpha[k] times as frequent. To recover the
    probabilities of the data, divide the probabilities by alpha and normalize them.

    Args:
        alpha: one factor for each class, at least 0, or one for all.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.AlphaBalancedCE([0.25, 0.75])
    >>> round(float(loss([1], [[0.5, 0.5]])), 6)
    0.51986

    Reference:

    - Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 3.1.
    """

    def __init__(
        self, alpha: float | Sequence[float] = 1.0, **kwargs: Unpack[ClassLossArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.alpha = self.class_weights = class_factors("alpha", alpha)


alpha_balanced_ce = function_of(AlphaBalancedCE)


@saveable
class AlphaBalancedBCE(CrossEntropy, BinaryLoss):
    """Cross-entropy of independent labels with a factor for positives and negatives.

    Formula, for each label y and p = P(y = 1):

    ```
    loss = reduce(-alpha * y * log p - (1 - alpha) * (1 - y) * log(1 - p), axis=-1)
    ```

    Args:
        alpha: factor of the positives, in [0, 1]; the negatives have the factor
            1 - alpha.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.AlphaBalancedBCE(0.25)
    >>> round(float(loss([[1]], [[0.5]])), 6)
    0.173287

    Reference:

    - Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 3.1.
    """

    def __init__(
        self, alpha: float = 0.25, **kwargs: Unpack[BinaryLossArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.alpha = in_range("alpha", alpha, 0.0, 1.0)
        self.positive_weight, self.negative_weight = self.alpha, 1.0 - self.alpha


alpha_balanced_bce = function_of(AlphaBalancedBCE)
