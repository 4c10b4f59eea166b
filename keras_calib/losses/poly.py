"""PolyLoss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_calib.arguments import in_range
from keras_calib.losses.base import TrueClassLoss
from keras_calib.ops.poly import poly_value, poly_weight


@keras.saving.register_keras_serializable(package="keras_calib")
class PolyLoss(TrueClassLoss):
    """Cross-entropy with a polynomial of 1 - p added.

    Formula, for the probability p of the true class:

    ```
    loss = -log p + sum_j epsilon_j * (1 - p) ** j
    ```

    Since -log p = sum_j (1 - p) ** j / j, the epsilons change the leading
    coefficients of cross-entropy; epsilon_j = -1 / j drops a term. Positive ones
    make the model overconfident (where the true probability is 0.7 it says 0.77 at
    epsilon_1 = 1), negative ones underconfident (0.60 at -1).

    Args:
        epsilons: epsilon_1, or the sequence of epsilon_j, each at least -1 / j.
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
    >>> loss = keras_calib.PolyLoss(1.0, from_logits=True)
    >>> round(float(loss([0], [[1.0, 2.0, 0.5, -1.0]])), 6)
    2.270974

    Reference:

    - Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification
      Loss Functions", ICLR 2022, [arXiv:2204.12511](https://arxiv.org/abs/2204.12511),
      sections 3 and 4.
    """

    def __init__(
        self,
        epsilons: float | Sequence[float] = 1.0,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "poly_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        if isinstance(epsilons, int | float):
            epsilons = [epsilons]
        self.epsilons = [
            in_range(f"epsilons[{j - 1}]", e, -1.0 / j, float("inf"))
            for j, e in enumerate(epsilons, 1)
        ]

    def value(self, log_p, p, q):
        return poly_value(log_p, p, q, self.epsilons)

    def weight(self, log_p, p, q):
        return poly_weight(log_p, p, q, self.epsilons)
