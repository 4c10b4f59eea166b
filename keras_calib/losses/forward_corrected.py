"""Cross-entropy through label noise that is known, and how low it may fall."""

from typing import Any, Unpack

import numpy as np

from keras_calib.arguments import numbers, saveable
from keras_calib.losses.base import ClassLoss, ClassLossArguments
from keras_calib.losses.functions import function_of
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.transition import forward_corrected_value, transition_matrix
from keras_calib.types import Array, Tensor

__all__ = ["ForwardCorrectedCE", "forward_corrected_ce", "noise_floor"]


@saveable
class ForwardCorrectedCE(ClassLoss):
    """Cross-entropy between noisy labels and what the noise makes of predictions.

    Formula, for predictions p of the true classes and the noisy label y:

    ```
    loss = -log sum_i p_i transition[i][y]
    ```

    With the right matrix and enough data the model learns the probabilities of the true
    classes. With a wrong matrix it is as wrong as the matrix, so estimate it with care
    where a class loses half of its labels to another. For noise that does not depend on
    the class, `GammaCE(noise_matched_gamma(eta, k))` is the same loss up to a factor
    and a constant.

    A network that memorizes its labels does so here, too. Its loss then falls below
    `noise_floor(transition)`: stop there with `callbacks.NoiseFloor`.

    The model predicts the true classes. To predict labels that are as noisy as these,
    add the noise with `calibrators.NoiseCorrection(transition=transition)`.

    Args:
        transition: a matrix of shape (K, K), whose row i holds the probabilities of
            the labels that samples of class i get.

    Example:

    A third of the samples of class 1 are labeled 0:

    >>> import keras_calib
    >>> loss = keras_calib.ForwardCorrectedCE([[1, 0], [1 / 3, 2 / 3]])
    >>> round(float(loss([0], [[0.7, 0.3]])), 6)
    0.223144

    References:

    - Patrini et al., "Making Deep Neural Networks Robust to Label Noise", CVPR 2017,
      [arXiv:1609.03683](https://arxiv.org/abs/1609.03683), section 4.2.
    - Toner, Storkey, "Label Noise: Correcting the Forward-Correction",
      [arXiv:2307.13100](https://arxiv.org/abs/2307.13100): the floor.
    """

    def __init__(self, transition: Any, **kwargs: Unpack[ClassLossArguments]) -> None:
        super().__init__(**kwargs)
        self._matrix = transition_matrix(transition)
        self.transition = self._matrix.tolist()

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample."""
        if batch.num_classes != len(self._matrix):
            raise ValueError(
                f"`transition` is of {len(self._matrix)} classes. Received: "
                f"predictions of {batch.num_classes} classes"
            )
        return batch.expected_loss(
            lambda labels, scores: forward_corrected_value(
                labels, scores, self._matrix, from_logits=batch.from_logits
            )
        )


forward_corrected_ce = function_of(ForwardCorrectedCE)


def noise_floor(transition: Any, priors: Array | None = None) -> float:
    """Returns the lowest loss that a model of noisy labels can have on new samples.

    Formula, for the frequencies pi of the true classes:

    ```
    floor = -sum_i pi_i sum_j transition[i][j] log transition[i][j]
    ```

    It is the loss of a model that knows each true class, and bounds cross-entropy and
    `ForwardCorrectedCE` on noisy labels. A training loss below it is lower than that of
    the truth: the model has memorized labels.

    Args:
        transition: see `ForwardCorrectedCE`.
        priors: the frequencies of the true classes, or their numbers of samples; by
            default all are equal.

    Raises:
        ValueError: for a matrix that is no transition, and for other priors.

    Example:

    >>> import keras_calib
    >>> round(keras_calib.noise_floor([[0.8, 0.2], [0.2, 0.8]]), 6)
    0.500402

    Reference:

    - Toner, Storkey, "Label Noise: Correcting the Forward-Correction",
      [arXiv:2307.13100](https://arxiv.org/abs/2307.13100).
    """
    t = transition_matrix(transition)
    weights = np.ones(len(t))
    if priors is not None:
        weights = np.array(numbers("priors", priors, 0.0, float("inf"), len(t)))
        if not weights.any():
            raise ValueError(
                f"`priors` must have a class above 0. Received: {priors!r}"
            )
    entropies = -(t * np.log(np.where(t > 0.0, t, 1.0))).sum(-1)
    return float(np.average(entropies, weights=weights))
