"""What every loss here shares. A new loss is `__init__`, `value` and `weight`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras.src.backend import set_keras_mask  # an attribute, or on JAX a global

from keras_calib.arguments import Configurable, one_of
from keras_calib.losses.hyperparameter import Hyperparameter
from keras_calib.ops.binary import binary_loss
from keras_calib.ops.floats import last_mean
from keras_calib.ops.labels import class_labels, is_valid, num_classes
from keras_calib.ops.true_class import true_class_loss

# Keras casts labels to the dtype of the loss: integers are exact up to here.
_EXACT_INTEGERS = {"float16": 2**11, "bfloat16": 2**8}


class CalibrationLoss(Configurable, keras.losses.Loss, ABC):
    """Adds to a Keras loss: derived configs, and hyperparameters that move.

    Args:
        from_logits: whether predictions are logits.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations, as in `keras.losses.Loss`. On torch
            Keras takes the mean over a float64 batch in float32; `reduction` `"sum"`
            and `None` keep the digits.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = bool(from_logits)

    @property
    def hyperparameters(self) -> dict[str, Hyperparameter]:
        """What a callback may change during `fit`, by name."""
        return {k: v for k, v in vars(self).items() if isinstance(v, Hyperparameter)}

    def __setattr__(self, name: str, value: Any) -> None:
        # `loss.gamma = 0.3` moves gamma; a plain float in its place would be
        # baked into the compiled step.
        held = vars(self).get(name)
        if isinstance(held, Hyperparameter) and not isinstance(value, Hyperparameter):
            held.assign(value)
        else:
            super().__setattr__(name, value)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        # Keras takes a list for a structure of scalars.
        if isinstance(y_true, list | tuple):
            y_true = ops.convert_to_tensor(y_true)
        if isinstance(y_pred, list | tuple):
            y_pred = ops.convert_to_tensor(y_pred)
        if sample_weight is not None:
            # On torch Keras multiplies a mask into the weights in place.
            sample_weight = ops.copy(sample_weight)
            # Keras would broadcast from the right: over the positions.
            if 0 < len(sample_weight.shape) < len(y_pred.shape) - 1:
                raise ValueError(
                    "`sample_weight` must have one weight a position, or an axis of 1. "
                    "For `class_weight`, which Keras makes one weight a sample, by the "
                    "place of its largest label, take AlphaBalancedCE. "
                    f"Received: sample_weight.shape={tuple(sample_weight.shape)}, "
                    f"y_pred.shape={tuple(y_pred.shape)}"
                )
        for hyperparameter in self.hyperparameters.values():
            hyperparameter.notice_trace()
        return super().__call__(y_true, y_pred, sample_weight)

    def __reduce__(self):
        return type(self).from_config, (self.get_config(),)


class ClassLoss(CalibrationLoss):
    """Base of the losses of one label of K classes.

    A subclass gives `sample_losses`.

    Args:
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: as in `keras.losses.Loss`.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits, reduction=reduction, name=name, dtype=dtype
        )
        self.ignore_class = ignore_class

    @abstractmethod
    def sample_losses(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample, 0 where the label is `ignore_class`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample."""
        k = num_classes(y_pred)
        if k > _EXACT_INTEGERS.get(self.dtype, k):
            raise ValueError(
                f"dtype {self.dtype!r} holds class labels only up to "
                f"{_EXACT_INTEGERS[self.dtype]}. Received predictions of {k} "
                "classes; use dtype='float32' for the loss."
            )
        losses = self.sample_losses(y_true, y_pred)
        if self.ignore_class is not None:
            labels, _ = class_labels(y_true, y_pred)
            set_keras_mask(losses, is_valid(labels, self.ignore_class))
        return losses


class TrueClassLoss(ClassLoss):
    """Base of the losses l(p) of the true class's probability.

    A subclass gives `value` and `weight`, two functions of what is known of the
    true class: `log_p`, `p` and `q = 1 - p`, each without cancellation.

    Args:
        from_logits: whether predictions are logits. Probabilities that come
            straight from a Keras softmax are traced back to their logits.
        ignore_class: integer label whose samples count for nothing.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> class SmoothError(keras_calib.losses.TrueClassLoss):
    ...     def value(self, log_p, p, q):
    ...         return q
    ...     def weight(self, log_p, p, q):
    ...         return p
    >>> round(float(SmoothError()([0], [[0.7, 0.3]])), 6)
    0.3
    """

    label_smoothing: float = 0.0

    @abstractmethod
    def value(self, log_p: Any, p: Any, q: Any) -> Any:
        """Returns the loss."""

    @abstractmethod
    def weight(self, log_p: Any, p: Any, q: Any) -> Any:
        """Returns -dl/dlog_p."""

    @property
    def class_weights(self) -> float | Sequence[float] | None:
        """One factor for each class, or one for all."""
        return None

    def smoothing(self, num_classes: int) -> float:
        """Returns the share of the uniform term, of which every class has 1/K."""
        return self.label_smoothing

    def sample_losses(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample."""
        return true_class_loss(
            y_true,
            y_pred,
            self.value,
            self.weight,
            from_logits=self.from_logits,
            label_smoothing=self.smoothing(num_classes(y_pred)),
            class_weights=self.class_weights,
            ignore_class=self.ignore_class,
        )


class BinaryLoss(CalibrationLoss):
    """Base of the losses of independent binary labels, one sigmoid each.

    Args:
        label_reduction: `"mean"` over the last axis, the Keras habit, or `"sum"`.
        from_logits: whether predictions are logits.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: as in `keras.losses.Loss`.
    """

    positive_weight: float = 1.0
    negative_weight: float = 1.0

    def __init__(
        self,
        *,
        label_reduction: str = "mean",
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits, reduction=reduction, name=name, dtype=dtype
        )
        self.label_reduction = one_of(
            "label_reduction", label_reduction, ("mean", "sum")
        )

    @abstractmethod
    def value(self, log_p: Any, p: Any, q: Any) -> Any:
        """Returns the loss of a label whose own outcome has probability p."""

    @abstractmethod
    def weight(self, log_p: Any, p: Any, q: Any) -> Any:
        """Returns -dl/dlog_p."""

    def label_losses(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each label."""
        return binary_loss(
            y_true,
            y_pred,
            self.value,
            self.weight,
            from_logits=self.from_logits,
            positive_weight=self.positive_weight,
            negative_weight=self.negative_weight,
        )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample, reduced over its labels."""
        if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
            y_true = ops.expand_dims(y_true, -1)
        losses = self.label_losses(y_true, y_pred)
        if self.label_reduction == "mean":
            return last_mean(losses)
        return ops.sum(losses, axis=-1)
