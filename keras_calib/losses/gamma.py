"""Gamma-cross-entropy, for one label of K classes and for independent labels."""

from typing import Generic, Literal, Never, TypeAlias, Unpack

from keras import ops

from keras_calib.arguments import Suggested, in_range, one_of, saveable
from keras_calib.losses.base import (
    BinaryLoss,
    CalibrationLoss,
    EitherArguments,
    Ignored,
    LabelReduction,
    Reduced,
    TrueClassLoss,
)
from keras_calib.losses.functions import function_of
from keras_calib.losses.schedules import Schedule
from keras_calib.ops.floats import dtype_name
from keras_calib.ops.gamma import gamma_value, gamma_weight
from keras_calib.types import Tensor

__all__ = ["GammaBCE", "GammaCE", "gamma_bce", "gamma_ce"]

Formulation: TypeAlias = Literal["closed", "stop_gradient"]


class _Gamma(CalibrationLoss, Generic[Ignored, Reduced]):
    """Base of both losses.

    Args:
        gamma: number in [0, 1]; start with 0.1.
        floor: number b in [0, 1], the smallest weight of a sample: w becomes
            max(b, w), so that improbable samples still count. 0 gives
            gamma-cross-entropy, 1 gives cross-entropy.
        formulation: `"closed"` is the formula above and, for p below the floor's
            knee p_b = b gamma / (1 - b (1 - gamma)), its continuation
            loss(p_b) - b log(p / p_b). `"stop_gradient"` is the paper's
            -stop_gradient(max(b, w)) log p, which has the same gradient. Its value is
            not the loss that is minimized: for b = 0 it falls to 0 as p does.
    """

    def __init__(
        self,
        gamma: float | Schedule = Suggested(0.1),  # noqa: B008
        *,
        floor: float = 0.0,
        formulation: Formulation = "closed",
        label_smoothing: float = 0.0,
        **kwargs: Unpack[EitherArguments[Ignored, Reduced]],
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[misc]  # the other base's, too
        self.gamma = self.hyperparameter("gamma", gamma, high=1.0)
        self.floor = in_range("floor", floor, 0.0, 1.0)
        self.formulation = one_of("formulation", formulation, Formulation)
        self.label_smoothing = in_range("label_smoothing", label_smoothing, 0.0, 1.0)

    def value(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns the loss."""
        if self.formulation == "stop_gradient":
            return -log_p * ops.stop_gradient(self.weight(log_p, p, q))
        gamma = self.gamma.tensor(dtype_name(p))
        return gamma_value(log_p, p, q, gamma, self.floor)

    def weight(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns max(floor, p / (gamma + (1 - gamma) p))."""
        gamma = self.gamma.tensor(dtype_name(p))
        return gamma_weight(log_p, p, q, gamma, self.floor)


@saveable
class GammaCE(_Gamma[int | None, Never], TrueClassLoss):
    """Gamma-cross-entropy between labels and predictions.

    Formula, for the probability p of the true class:

    ```
    loss = -log(gamma + (1 - gamma) * p) / (1 - gamma)
    ```

    At gamma = 0 it is cross-entropy and at gamma = 1 it is 1 - p, the smooth error
    rate; in between 1 - p <= loss <= -log p. Its gradient is that of cross-entropy
    times w = p / (gamma + (1 - gamma) p): improbable samples, wrong labels among them,
    have a small weight.

    It is cross-entropy through a model of symmetric label noise: if a fraction eta of
    the labels is redrawn at random among K classes, gamma = eta / (K - (K - 1) eta)
    recovers the clean posterior. On clean labels it makes the model overconfident: it
    does not cure overconfidence.

    A gamma that is large compared to 1/K keeps a new model, where p is about 1/K, from
    learning: increase it during training with `callbacks.GammaScheduler`.

    Args:
        label_smoothing: number e in [0, 1] in (1 - e) loss + e mean_j(-log p_j). As in
            the paper's code, w does not multiply the second term.

    Attributes:
        gamma: a `Hyperparameter` that callbacks may change, or that follows the
            schedule given in its place. Read it with
            `float(loss.gamma)`, set it with `loss.gamma.assign(0.3)`, and log it with
            `metrics=[loss.gamma]`.

    Examples:

    >>> import keras_calib
    >>> loss = keras_calib.GammaCE(0.1)
    >>> round(float(loss([0], [[0.3, 0.7]])), 6)
    1.104725
    >>> loss.gamma.assign(1.0)
    >>> round(float(loss([0], [[0.3, 0.7]])), 6)
    0.7

    With `compile`, and with gamma in the logs:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> loss = keras_calib.GammaCE(0.1, from_logits=True)
    >>> model.compile("adam", loss=loss, metrics=["accuracy", loss.gamma])

    Reference:

    - Ji et al., "Tailoring Language Generation Models under Total Variation
      Distance", ICLR 2023, [arXiv:2302.13344](https://arxiv.org/abs/2302.13344),
      section 3: the weight and its floor.
    """


gamma_ce = function_of(GammaCE)


@saveable
class GammaBCE(_Gamma[Never, LabelReduction], BinaryLoss):
    """Gamma-cross-entropy of independent binary labels (multi-label, sigmoid).

    Formula, for each label with p the probability of its own outcome:

    ```
    loss = reduce(-log(gamma + (1 - gamma) * p) / (1 - gamma), axis=-1)
    ```

    Args:
        label_smoothing: number e in [0, 1] in (1 - e) loss + e/2 (-log p - log(1 - p)).
            As in `GammaCE`, w does not multiply the second term.

    Attributes:
        gamma: a `Hyperparameter`; see `GammaCE`.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.GammaBCE(0.1, label_reduction="sum", from_logits=True)
    >>> round(float(loss([[1, 0, 1]], [[1.5, -0.5, 0.2]])), 6)
    1.237759
    """


gamma_bce = function_of(GammaBCE)
