"""Cross-entropy, weighted by the entropy of the predictions."""

from __future__ import annotations

from typing import Unpack

from keras import ops

from keras_calib.arguments import in_range, saveable
from keras_calib.losses.base import ClassLoss, ClassLossArguments
from keras_calib.losses.functions import function_of
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import at_least
from keras_calib.ops.gradients import Backward, unless_zero, with_gradient
from keras_calib.types import Tensor

__all__ = ["EntropyGatedCE", "entropy_gated_ce"]


@saveable
class EntropyGatedCE(ClassLoss):
    """Cross-entropy, with a weight that falls with the entropy of the predictions.

    Formula, for predictions p over K classes and the true class y:

    ```
    loss = -stop_gradient((H(p) / log K) ** exponent) * log p_y
    H(p) = -sum_i p_i log p_i
    ```

    It learns from samples on which the model is uncertain. Where the model is certain
    it learns little, neither what it knows already nor what contradicts it; such
    contradictions make a language model forget in fine-tuning. The weight of
    gamma-cross-entropy depends on p_y instead, so that it also learns little where the
    model hesitates between many classes. A model that is certain and wrong stays so,
    even if the labels are right.

    Its value is not what is minimized: monitor the negative log-likelihood.

    The paper takes the entropy of the 20 largest probabilities, divided by log 20.
    That differs from H / log K by nearly a constant factor.

    Args:
        exponent: number of at least 0; 0 is cross-entropy.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.losses.EntropyGatedCE(reduction=None)
    >>> predictions = [[0.2, 0.4, 0.4], [0.2, 0.8, 0.0]]  # in doubt, and surer
    >>> [round(float(x), 3) for x in loss([0, 0], predictions)]
    [1.545, 0.733]

    Reference:

    - Diao et al., "Entropy-Adaptive Fine-Tuning: Resolving Confident Conflicts to
      Mitigate Forgetting", [arXiv:2601.02151](https://arxiv.org/abs/2601.02151).
    """

    def __init__(
        self, exponent: float = 1.0, **kwargs: Unpack[ClassLossArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.exponent = in_range("exponent", exponent, 0.0, float("inf"))

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample."""
        if not self.exponent:
            return batch.cross_entropy
        # Rounding may put a probability of 1 above it, and the entropy below 0.
        classes = ops.cast(ops.shape(batch.scores)[-1], batch.dtype)
        doubt = at_least(batch.entropy / ops.log(classes), 0.0)

        def gated(doubt: Tensor, losses: Tensor) -> tuple[Tensor, Backward]:
            gate = doubt if self.exponent == 1.0 else ops.power(doubt, self.exponent)
            return gate * losses, lambda u: (
                ops.zeros_like(doubt),
                unless_zero(gate, u),
            )

        return with_gradient(gated, doubt, batch.cross_entropy)


entropy_gated_ce = function_of(EntropyGatedCE)
