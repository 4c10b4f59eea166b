"""Losses that are robust to wrong labels: improbable samples have a small weight."""

from typing import Unpack

from keras_calib.arguments import in_range, saveable, unless_none
from keras_calib.losses.base import ClassLossArguments, TrueClassLoss
from keras_calib.losses.functions import function_of
from keras_calib.ops.robust import gce_value, gce_weight, mae_value, mae_weight
from keras_calib.types import Tensor

__all__ = [
    "CategoricalMeanAbsoluteError",
    "GeneralizedCE",
    "categorical_mean_absolute_error",
    "generalized_ce",
]


@saveable
class GeneralizedCE(TrueClassLoss):
    """Generalized cross-entropy between labels and predictions.

    Formula, for the probability p of the true class:

    ```
    loss = (1 - p ** q) / q
    ```

    At q = 0 it is cross-entropy and at q = 1 it is 1 - p. It is robust to wrong labels
    and makes the model overconfident: where the true probability of a class is 0.7,
    the minimum is at 0.77 for q = 0.3 and at 0.94 for q = 0.7.

    Above q = 1 its gradient is that of -p^q: it learns only what the model already
    believes. Language models have been fine-tuned this way, with q = 10, in domains
    that they knew; in others cross-entropy did better.

    Truncated at k, samples with p <= k have the constant loss of k and no gradient.
    A model that starts at p = 1 / K < k learns nothing: train for some epochs before
    you truncate.

    Unlike `keras.losses.CategoricalGeneralizedCrossEntropy` it takes labels of any
    format, and a model's logits.

    Args:
        q: number of at least 0.
        truncation: number k in [0, 1]; `None` truncates nothing.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.GeneralizedCE(0.7, from_logits=True)
    >>> round(float(loss([0], [[1.0, 2.0, 0.5, -1.0]])), 6)
    0.926971

    References:

    - Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural
      Networks with Noisy Labels", NeurIPS 2018,
      [arXiv:1805.07836](https://arxiv.org/abs/1805.07836), sections 3.2 and 3.3.
    - "Beyond Log Likelihood: Probability-Based Objectives for Supervised Fine-Tuning
      across the Model Capability Continuum",
      [arXiv:2510.00526](https://arxiv.org/abs/2510.00526): -p^10.
    """

    def __init__(
        self,
        q: float = 0.7,
        truncation: float | None = None,
        **kwargs: Unpack[ClassLossArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.q = in_range("q", q, 0.0, float("inf"))
        self.truncation = unless_none(in_range, "truncation", truncation, 0.0, 1.0)

    def value(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns the loss."""
        return gce_value(log_p, p, q, self.q, self.truncation)

    def weight(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns -dl/dlog_p."""
        return gce_weight(log_p, p, q, self.q, self.truncation)


generalized_ce = function_of(GeneralizedCE)


@saveable
class CategoricalMeanAbsoluteError(TrueClassLoss):
    """Mean absolute error between a label's one-hot vector and predictions.

    Formula, for the probability p of the true class:

    ```
    loss = sum_i |y_i - p_i| = 2 * (1 - p)
    ```

    It lies in [0, 2]; `keras.losses.MeanAbsoluteError` divides it by K. Its sum over
    the K labels is a constant, which makes it robust to symmetric label noise. Its
    minimum puts all the probability on the most probable class, so the model is as
    overconfident as possible. With many classes it learns slowly, because its gradient
    falls with p. For a soft target t it is the expected loss of a label drawn from t,
    which is not sum_i |t_i - p_i|.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.CategoricalMeanAbsoluteError()
    >>> round(float(loss([0], [[0.7, 0.3]])), 6)
    0.6

    Reference:

    - Ghosh, Kumar, Sastry, "Robust Loss Functions under Label Noise for Deep Neural
      Networks", AAAI 2017, section 3.
    """

    value = staticmethod(mae_value)
    weight = staticmethod(mae_weight)


categorical_mean_absolute_error = function_of(CategoricalMeanAbsoluteError)
