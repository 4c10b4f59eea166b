"""Gamma-cross-entropy, for one label of K and for independent labels."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.arguments import in_range, one_of
from keras_calib.losses.base import BinaryLoss, TrueClassLoss
from keras_calib.losses.hyperparameter import Hyperparameter
from keras_calib.ops.floats import dtype_name
from keras_calib.ops.gamma import gamma_value, gamma_weight


class _Gamma:
    """The value and weight that both losses share."""

    dtype: str

    def _set_gamma(self, gamma, floor, formulation):
        self.gamma = Hyperparameter(
            gamma, low=0.0, high=1.0, name="gamma", dtype=self.dtype
        )
        self.floor = in_range("floor", floor, 0.0, 1.0)
        self.formulation = one_of(
            "formulation", formulation, ("closed", "stop_gradient")
        )

    def value(self, log_p, p, q):
        if self.formulation == "stop_gradient":
            return -log_p * keras.ops.stop_gradient(self.weight(log_p, p, q))
        gamma = self.gamma.tensor(dtype_name(p))
        return gamma_value(log_p, p, q, gamma, self.floor)

    def weight(self, log_p, p, q):
        gamma = self.gamma.tensor(dtype_name(p))
        return gamma_weight(log_p, p, q, gamma, self.floor)


@keras.saving.register_keras_serializable(package="keras_calib")
class GammaCE(_Gamma, TrueClassLoss):
    """Gamma-cross-entropy between labels and predictions.

    Formula, for the probability p of the true class:

    ```
    loss = -log(gamma + (1 - gamma) * p) / (1 - gamma)
    ```

    At gamma = 0 it is cross-entropy and at gamma = 1 it is 1 - p, the smooth error
    rate; in between 1 - p <= loss <= -log p. Its gradient is that of cross-entropy
    times w = p / (gamma + (1 - gamma) p), so that samples the model finds
    improbable, wrong labels among them, weigh little.

    It is cross-entropy behind a symmetric label-noise model, and resists noise:
    for a share eta of labels redrawn at random among K classes, gamma = eta /
    (K - (K - 1) eta) recovers the clean posterior. On clean labels it sharpens:
    it is no cure for overconfidence.

    A gamma that is large beside 1/K stops a model from learning at the start,
    where p is about 1/K: anneal it up with `callbacks.GammaScheduler`.

    Args:
        gamma: in [0, 1]. Kept in a variable, `loss.gamma`, that callbacks move:
            `float(loss.gamma)`, `loss.gamma.assign(0.3)`, `metrics=[loss.gamma]`.
        floor: in [0, 1], the least weight b of a sample: w becomes max(b, w), so
            that improbable samples still count. 0 is gamma-cross-entropy, 1 is
            cross-entropy.
        formulation: `"closed"` is the formula above and, for p under the floor's
            knee p_b = b gamma / (1 - b (1 - gamma)), its continuation
            loss(p_b) - b log(p / p_b). `"stop_gradient"` is the paper's
            -stop_gradient(max(b, w)) log p: the same gradient, but a value that
            says nothing (it falls to 0 as p does, for b = 0).
        label_smoothing: in [0, 1], e of (1 - e) loss + e mean_j(-log p_j); the
            smooth term is not weighted by w, as in the paper's code.
        from_logits: whether `y_pred` are logits. From probabilities, p is taken as
            at least the smallest normal float (1.2e-38 in float32), so that p = 0
            gives a finite loss at gamma = 0; probabilities that come straight from
            a Keras softmax are traced back to their logits and need no floor.
        ignore_class: integer label whose samples count for nothing (padding, void
            pixels).
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or one-hot, soft or
            mixup targets t of shape `(..., K)`, which give sum_i t_i loss(p_i).
        y_pred: logits or probabilities of shape `(..., K)`.

    Raises:
        ValueError: for arguments out of range and shapes that do not fit.

    Examples:

    >>> import keras_calib
    >>> loss = keras_calib.GammaCE(0.1)
    >>> round(float(loss([0], [[0.3, 0.7]])), 6)
    1.104725
    >>> loss.gamma.assign(1.0)
    >>> round(float(loss([0], [[0.3, 0.7]])), 6)
    0.7

    With `compile`, gamma among what the logs show:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> loss = keras_calib.GammaCE(0.1, from_logits=True)
    >>> model.compile("adam", loss=loss, metrics=["accuracy", loss.gamma])

    Reference:

    - Ji et al., "Tailoring Language Generation Models under Total Variation
      Distance", ICLR 2023, [arXiv:2302.13344](https://arxiv.org/abs/2302.13344),
      section 3: the weight and its floor.
    """

    def __init__(
        self,
        gamma: float = 0.0,
        *,
        floor: float = 0.0,
        formulation: str = "closed",
        label_smoothing: float = 0.0,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "gamma_ce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self._set_gamma(gamma, floor, formulation)
        self.label_smoothing = in_range("label_smoothing", label_smoothing, 0.0, 1.0)


@keras.saving.register_keras_serializable(package="keras_calib")
class GammaBCE(_Gamma, BinaryLoss):
    """Gamma-cross-entropy of independent binary labels (multi-label, sigmoid).

    Formula, for each label with p the probability of its own outcome:

    ```
    loss = reduce(-log(gamma + (1 - gamma) * p) / (1 - gamma), axis=-1)
    ```

    A label y in (0, 1) gives y loss(p) + (1 - y) loss(1 - p).

    Args:
        gamma: in [0, 1], kept in the variable `loss.gamma`; see `GammaCE`.
        label_reduction: `"mean"` over the last axis, the Keras habit, or `"sum"`.
        floor: in [0, 1], the least weight of a label; see `GammaCE`.
        formulation: `"closed"` or `"stop_gradient"`; see `GammaCE`.
        from_logits: whether `y_pred` are logits.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: labels in [0, 1] of shape `(..., L)`.
        y_pred: logits or probabilities of the same shape.

    Raises:
        ValueError: for arguments out of range and shapes that differ.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.GammaBCE(0.1, label_reduction="sum", from_logits=True)
    >>> round(float(loss([[1, 0, 1]], [[1.5, -0.5, 0.2]])), 6)
    1.237759
    """

    def __init__(
        self,
        gamma: float = 0.0,
        *,
        label_reduction: str = "mean",
        floor: float = 0.0,
        formulation: str = "closed",
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "gamma_bce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            label_reduction=label_reduction,
            from_logits=from_logits,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self._set_gamma(gamma, floor, formulation)
