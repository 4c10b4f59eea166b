"""Losses that contrast the true pair with other pairs."""

import math
from typing import Unpack

import numpy as np
from keras import ops

from keras_calib.arguments import in_range, saveable
from keras_calib.losses.base import (
    ClassLoss,
    CrossEntropy,
    ScoreLossArguments,
    TrueClassLoss,
)
from keras_calib.losses.functions import function_of
from keras_calib.ops.binary import binary_kernel
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import at_least, dtype_name
from keras_calib.ops.labels import num_classes
from keras_calib.types import Tensor

__all__ = [
    "InfoNCE",
    "NoiseContrastiveEstimation",
    "info_nce",
    "noise_contrastive_estimation",
]


@saveable
class InfoNCE(CrossEntropy, TrueClassLoss):
    """InfoNCE: cross-entropy of the true pair among the candidates (NT-Xent).

    Formula, for scores s of the candidates and the index y of the true one:

    ```
    loss = log sum_j exp(s_j / temperature) - s_y / temperature
    ```

    A candidate of score -inf is left out, exactly so with integer labels. The
    probabilities depend on the number of candidates.

    Args:
        temperature: divides the scores; at least 1e-6.

    Call arguments:
        y_pred: scores, usually cosines, of shape `(..., K)`.

    Examples:

    >>> import keras_calib
    >>> loss = keras_calib.InfoNCE(temperature=0.1)
    >>> round(float(loss([0], [[0.8, 0.1, -0.2, 0.3]])), 6)
    0.007666

    In-batch contrast of two views of n samples, their features stacked as
    `[first views, second views]` (SimCLR's code masks with -1e9, and adds the two
    directions where this takes the mean):

    >>> n, features = 2, ops.array([[3.0, 1.0], [0.0, 2.0], [2.0, 1.0], [1.0, 2.0]])
    >>> features = ops.normalize(features, axis=-1)
    >>> scores = ops.matmul(features, ops.transpose(features))
    >>> scores = ops.where(ops.eye(2 * n, dtype="bool"), -float("inf"), scores)
    >>> round(float(loss(ops.roll(ops.arange(2 * n), n), scores)), 5)
    0.16242

    References:

    - van den Oord, Li, Vinyals, "Representation Learning with Contrastive
      Predictive Coding", [arXiv:1807.03748](https://arxiv.org/abs/1807.03748),
      section 2.3.
    - Chen et al., "A Simple Framework for Contrastive Learning of Visual
      Representations", ICML 2020, [arXiv:2002.05709](https://arxiv.org/abs/2002.05709),
      section 2.1.
    """

    def __init__(
        self, temperature: float = 0.1, **kwargs: Unpack[ScoreLossArguments]
    ) -> None:
        super().__init__(from_logits=True, **kwargs)
        self.temperature = in_range("temperature", temperature, 1e-6, float("inf"))
        self.score_factor = 1.0 / self.temperature


info_nce = function_of(InfoNCE)


@saveable
class NoiseContrastiveEstimation(CrossEntropy, ClassLoss):
    """NCE: logistic regression of the true candidate against k noise samples.

    Formula, for scores s (unnormalized log-probabilities), k = K - 1 noise samples
    and p_n the probability that the noise gives to a candidate:

    ```
    loss = softplus(-(s_y - log(k * p_n))) + sum_{j != y} softplus(s_j - log(k * p_n))
    ```

    At its minimum exp(s) is a normalized probability. NCE is not `InfoNCE`, which
    compares the candidates with each other. A candidate of score -inf is left out of
    the sum, and counts in k.

    Args:
        noise_probability: p_n in (0, 1]. Where it differs between the candidates,
            subtract its logarithm from the scores, and leave this at 1.
        temperature: divides the scores; at least 1e-6.

    Call arguments:
        y_pred: scores of shape `(..., K)`.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.NoiseContrastiveEstimation(0.01, temperature=0.1)
    >>> round(float(loss([0], [[0.8, 0.1, -0.2, 0.3]])), 6)
    12.732372

    Reference:

    - Gutmann, Hyvärinen, "Noise-contrastive Estimation: A New Estimation Principle
      for Unnormalized Statistical Models", AISTATS 2010, section 2.
    """

    def __init__(
        self,
        noise_probability: float = 1.0,
        temperature: float = 1.0,
        **kwargs: Unpack[ScoreLossArguments],
    ) -> None:
        super().__init__(from_logits=True, **kwargs)
        self.noise_probability = in_range(
            "noise_probability", noise_probability, 1e-30, 1.0
        )
        self.temperature = in_range("temperature", temperature, 1e-6, float("inf"))

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample."""
        return batch.expected_loss(self._of_labels)

    def _of_labels(self, labels: Tensor, s: Tensor) -> Tensor:
        k = num_classes(s)
        logits = s / self.temperature - math.log((k - 1) * self.noise_probability)
        # A candidate of score -inf gets a finite logit and a loss of 0: 0 * inf is NaN.
        logits = at_least(logits, float(np.finfo(dtype_name(s)).min))
        is_true = ops.one_hot(labels, k, dtype=dtype_name(s))
        losses = binary_kernel(
            is_true, logits, self.value, self.weight, from_logits=True
        )
        return ops.sum(losses, axis=-1)


noise_contrastive_estimation = function_of(NoiseContrastiveEstimation)
