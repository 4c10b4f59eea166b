"""Cross-entropy with a penalty on low entropy."""

from typing import Unpack

from keras_calib.arguments import in_range, saveable
from keras_calib.losses.base import ClassLoss, ClassLossArguments
from keras_calib.losses.functions import function_of
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.types import Tensor

__all__ = ["ConfidencePenaltyCE", "confidence_penalty_ce"]


@saveable
class ConfidencePenaltyCE(ClassLoss):
    """Cross-entropy minus the entropy of the predictions.

    Formula, for predictions p and the true class y:

    ```
    loss = -log p_y - beta * H(p),   H(p) = -sum_i p_i log p_i
    ```

    It is cross-entropy + beta KL(p || uniform) - beta log K, where label smoothing
    has KL(uniform || p). It makes the model underconfident (where the true
    probability of a class is 0.7 it predicts 0.68 at beta = 0.1), and it can be
    negative.

    Args:
        beta: weight of the entropy, at least 0.

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

    def __init__(self, beta: float = 0.1, **kwargs: Unpack[ClassLossArguments]) -> None:
        super().__init__(**kwargs)
        self.beta = in_range("beta", beta, 0.0, float("inf"))

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample."""
        return batch.cross_entropy - self.beta * batch.entropy


confidence_penalty_ce = function_of(ConfidencePenaltyCE)
