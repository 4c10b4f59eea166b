"""PolyLoss."""

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from keras_calib.arguments import in_range, saveable
from keras_calib.losses.base import ClassLossArguments, TrueClassLoss
from keras_calib.losses.functions import function_of
from keras_calib.ops.poly import poly_value, poly_weight
from keras_calib.types import Tensor

__all__ = ["PolyLoss", "poly_loss"]


@saveable
class PolyLoss(TrueClassLoss):
    """Cross-entropy plus a polynomial in 1 - p.

    Formula, for the probability p of the true class:

    ```
    loss = -log p + sum_j epsilon_j * (1 - p) ** j
    ```

    Since -log p = sum_j (1 - p) ** j / j, the epsilons change the leading
    coefficients of cross-entropy; epsilon_j = -1 / j drops a term. Positive epsilons
    make the model overconfident (where the true probability is 0.7 it predicts 0.77
    at epsilon_1 = 1), negative ones underconfident (0.60 at -1).

    Args:
        epsilons: epsilon_1, or the sequence of epsilon_j, each at least -1 / j.

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
        **kwargs: Unpack[ClassLossArguments],
    ) -> None:
        super().__init__(**kwargs)
        several: Any = [epsilons] if np.ndim(epsilons) == 0 else epsilons
        self.epsilons = [
            in_range(f"epsilons[{j - 1}]", e, -1.0 / j, float("inf"))
            for j, e in enumerate(several, 1)
        ]

    def value(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns the loss."""
        return poly_value(log_p, p, q, self.epsilons)

    def weight(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns -dl/dlog_p."""
        return poly_weight(log_p, p, q, self.epsilons)


poly_loss = function_of(PolyLoss)
