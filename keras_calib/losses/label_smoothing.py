"""Label smoothing in both of its conventions."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.arguments import in_range, one_of
from keras_calib.losses.base import TrueClassLoss
from keras_calib.ops.cross_entropy import cross_entropy_value, cross_entropy_weight


@keras.saving.register_keras_serializable(package="keras_calib")
class LabelSmoothingCE(TrueClassLoss):
    """Cross-entropy against smoothed labels, with no one-hot for integer labels.

    Formula, by convention:

    ```
    uniform: loss = -(1 - epsilon) log p_y - epsilon / K * sum_j log p_j
    others:  loss = -(1 - epsilon) log p_y - epsilon / (K - 1) * sum_{j != y} log p_j
    ```

    `"uniform"` is Szegedy et al.'s and Keras's: the true class keeps
    1 - epsilon + epsilon / K. `"others"` (MindSpore's) leaves it 1 - epsilon, and is
    the uniform convention with epsilon K / (K - 1). State which one you use: at
    epsilon = 0.1 the two differ. The least loss is the entropy of the smoothed
    label, not 0, and the model it makes is underconfident.

    Args:
        epsilon: in [0, 1]; for `"others"` at most (K - 1) / K.
        convention: `"uniform"` or `"others"`.
        from_logits: whether `y_pred` are logits.
        ignore_class: integer label whose samples count for nothing.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of shape
            `(..., K)`.
        y_pred: logits or probabilities of shape `(..., K)`.

    Raises:
        ValueError: for arguments out of range and shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.LabelSmoothingCE(0.1, "others", from_logits=True)
    >>> round(float(loss([2], [[-1.5, 0.5, 5.0, -0.5]])), 6)
    0.566561

    Reference:

    - Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
      CVPR 2016, section 7.
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        convention: str = "uniform",
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "label_smoothing_ce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.epsilon = in_range("epsilon", epsilon, 0.0, 1.0)
        self.convention = one_of("convention", convention, ("uniform", "others"))

    def smoothing(self, num_classes: int) -> float:
        """Returns the epsilon of the uniform convention."""
        if self.convention == "uniform":
            return self.epsilon
        in_range("epsilon", self.epsilon, 0.0, (num_classes - 1) / num_classes)
        return self.epsilon * num_classes / (num_classes - 1)

    value = staticmethod(cross_entropy_value)
    weight = staticmethod(cross_entropy_weight)
