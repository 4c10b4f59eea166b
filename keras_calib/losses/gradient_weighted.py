"""A loss that is defined by its gradient."""

from collections.abc import Callable
from typing import Any, Self, Unpack

import keras
from keras import ops

from keras_calib.arguments import in_range, saveable
from keras_calib.losses.base import ClassLossArguments, TrueClassLoss
from keras_calib.losses.functions import function_of
from keras_calib.ops.gradient_weights import NAMED_WEIGHTS
from keras_calib.types import Tensor

__all__ = ["GradientWeightedCE", "gradient_weighted_ce"]


@saveable
class GradientWeightedCE(TrueClassLoss):
    """The loss whose gradient is -w(p) dp, for a weight w of your own.

    Formula, for the probability p of the true class:

    ```
    loss = -stop_gradient(p * w(p)) * log p
    ```

    w = 1 / p is cross-entropy and w = 1 the smooth accuracy 1 - p. A weight between
    the two is robust to wrong labels and makes the model overconfident; a weight above
    1 / p emphasizes hard samples. No antiderivative is needed, but the value is not the
    loss that is minimized: at w = 1 it falls to 0 where p does. Monitor the accuracy or
    the negative log-likelihood instead.

    Named weights w(p), with the parameter that each takes and its default:

    ```
    accuracy       1
    cross_entropy  1 / p
    mae            2
    gamma          1 / (gamma + (1 - gamma) p)                     gamma = 0.1
    gce            p^(q - 1)                                       q = 0.7
    focal          (1-p)^gamma / p - gamma (1-p)^(gamma-1) log p   gamma = 2.0
    poly           1 / p + epsilon                                 epsilon = 1.0
    phuber         min(1 / p, tau)                                 tau = 10.0
    threshold      1 / p if p > threshold                          threshold = 0.1
    ```

    Up to the threshold, the last one is 0.

    Args:
        weight: w, a function of a tensor of probabilities written in `keras.ops`
            that is finite for p in (0, 1] and at least 0; or the name of one. To
            save a model with a function of your own, register it with
            `keras.saving.register_keras_serializable`.
        parameter: the parameter of a named weight; `None` for its default.

    Raises:
        ValueError: for a weight that is neither a function nor a name, and for a
            parameter of a weight that takes none.

    Examples:

    >>> import keras_calib
    >>> loss = keras_calib.GradientWeightedCE("gamma", 0.3)
    >>> @keras.saving.register_keras_serializable(package="my_package")
    ... def only_above_a_tenth(p):
    ...     return keras.ops.where(p > 0.1, 1.0 / p, 0.0)
    >>> loss = keras_calib.GradientWeightedCE(only_above_a_tenth)
    >>> round(float(loss([0], [[0.5, 0.5]])), 6), float(loss([0], [[0.05, 0.95]]))
    (0.693147, 0.0)

    References:

    - Ji et al., "Tailoring Language Generation Models under Total Variation
      Distance", ICLR 2023, [arXiv:2302.13344](https://arxiv.org/abs/2302.13344),
      section 3: such a weight, under a stop-gradient.
    - Menon et al., "Can Gradient Clipping Mitigate Label Noise?", ICLR 2020, section 5:
      the partially Huberized loss, `"phuber"`.
    - Li et al., "Beyond Log Likelihood: Probability-Based Objectives for Supervised
      Fine-Tuning across the Model Capability Continuum",
      [arXiv:2510.00526](https://arxiv.org/abs/2510.00526): objectives with a threshold.
    """

    def __init__(
        self,
        weight: str | Callable[[Tensor], Tensor] = "accuracy",
        parameter: float | None = None,
        **kwargs: Unpack[ClassLossArguments],
    ) -> None:
        super().__init__(**kwargs)
        named = NAMED_WEIGHTS.get(weight) if isinstance(weight, str) else None
        if named is None and (isinstance(weight, str) or not callable(weight)):
            raise ValueError(
                "`weight` must be a function of p or one of "
                f"{', '.join(map(repr, NAMED_WEIGHTS))}. Received: {weight!r}"
            )
        if named is not None and named.parameter is not None:
            default = named.parameter if parameter is None else parameter
            parameter = in_range("parameter", default, named.low, named.high)
        elif parameter is not None:
            raise ValueError(
                f"weight={weight!r} takes no parameter. Received: "
                f"parameter={parameter!r}"
            )
        self._weight = weight
        self.parameter = parameter

    def weight(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns p w(p)."""
        if not isinstance(self._weight, str):
            return p * self._weight(p)
        arguments = () if self.parameter is None else (self.parameter,)
        return NAMED_WEIGHTS[self._weight].weight(log_p, p, q, *arguments)

    def value(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns -stop_gradient(p w(p)) log p."""
        return -log_p * ops.stop_gradient(self.weight(log_p, p, q))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Makes the loss of a configuration, with a registered function or a name."""
        if isinstance(config["weight"], dict):
            weight = keras.saving.deserialize_keras_object(config["weight"])
            config = {**config, "weight": weight}
        return cls(**config)


gradient_weighted_ce = function_of(GradientWeightedCE)
