"""Losses that resist wrong labels by weighing improbable samples less."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.arguments import in_range
from keras_calib.losses.base import TrueClassLoss
from keras_calib.ops.robust import gce_value, gce_weight, mae_value, mae_weight


@keras.saving.register_keras_serializable(package="keras_calib")
class GeneralizedCE(TrueClassLoss):
    """Generalized cross-entropy between labels and predictions.

    Formula, for the probability p of the true class:

    ```
    loss = (1 - p ** q) / q
    ```

    At q = 0 it is cross-entropy and at q = 1 it is 1 - p. It resists wrong labels,
    and sharpens: where the true probability of a class is 0.7 the model that
    minimises it says 0.77 at q = 0.3 and 0.94 at q = 0.7.

    Truncated at k, samples with p <= k have the constant loss of k and no gradient.
    A model that starts at p = 1 / K < k learns nothing: truncate only after some
    epochs without.

    Unlike `keras.losses.CategoricalGeneralizedCrossEntropy` it takes labels of any
    format, and a model's logits.

    Args:
        q: in [0, 1].
        truncation: k in [0, 1]; `None` for none.
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
    >>> loss = keras_calib.GeneralizedCE(0.7, from_logits=True)
    >>> round(float(loss([0], [[1.0, 2.0, 0.5, -1.0]])), 6)
    0.926971

    Reference:

    - Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural
      Networks with Noisy Labels", NeurIPS 2018,
      [arXiv:1805.07836](https://arxiv.org/abs/1805.07836), sections 3.2 and 3.3.
    """

    def __init__(
        self,
        q: float = 0.7,
        truncation: float | None = None,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "generalized_ce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.q = in_range("q", q, 0.0, 1.0)
        self.truncation = (
            None if truncation is None else in_range("truncation", truncation, 0.0, 1.0)
        )

    def value(self, log_p, p, q):
        return gce_value(log_p, p, q, self.q, self.truncation)

    def weight(self, log_p, p, q):
        return gce_weight(log_p, p, q, self.q, self.truncation)


@keras.saving.register_keras_serializable(package="keras_calib")
class CategoricalMeanAbsoluteError(TrueClassLoss):
    """Mean absolute error between a label's one-hot vector and predictions.

    Formula, for the probability p of the true class:

    ```
    loss = sum_i |y_i - p_i| = 2 * (1 - p)
    ```

    It lies in [0, 2]; `keras.losses.MeanAbsoluteError` divides it by K. Summed over
    the K labels it is a constant, which makes it robust to symmetric label noise,
    and its minimum puts all the probability on the likeliest class: the model is
    as overconfident as can be. With many classes it learns slowly, since its
    gradient falls with p.

    Args:
        from_logits: whether `y_pred` are logits.
        ignore_class: integer label whose samples count for nothing.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets t of shape
            `(..., K)`, which give sum_i t_i loss(p_i): the expected loss of a label
            drawn from t, which is not sum_i |t_i - p_i|.
        y_pred: logits or probabilities of shape `(..., K)`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.CategoricalMeanAbsoluteError()
    >>> round(float(loss([0], [[0.7, 0.3]])), 6)
    0.6

    Reference:

    - Ghosh, Kumar, Sastry, "Robust Loss Functions under Label Noise for Deep Neural
      Networks", AAAI 2017, section 3.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_mean_absolute_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )

    value = staticmethod(mae_value)
    weight = staticmethod(mae_weight)
