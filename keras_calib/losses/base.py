"""The bases of the losses. A new loss adds a constructor, `value` and `weight`."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar, Unpack

import keras
import numpy as np
from keras import ops

from keras_calib._keras import get_keras_mask, reduce_weighted_values, set_keras_mask
from keras_calib.arguments import (
    Configurable,
    default_name,
    in_range,
    one_of,
    unless_none,
)
from keras_calib.losses.hyperparameter import Constant, Hyperparameter
from keras_calib.losses.schedules import Schedule
from keras_calib.ops.arrays import require_call
from keras_calib.ops.binary_batch import BinaryBatch
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.cross_entropy import cross_entropy_value, cross_entropy_weight
from keras_calib.ops.floats import as_tensor, is_half, last_mean
from keras_calib.ops.labels import without_class_axis
from keras_calib.ops.reader import IgnoringReader, Reader
from keras_calib.types import Tensor

__all__ = ["BinaryLoss", "CalibrationLoss", "ClassLoss", "TrueClassLoss"]

Scalar: TypeAlias = Callable[..., Tensor]
LabelReduction: TypeAlias = Literal["mean", "sum"]
Ignored = TypeVar("Ignored")
Reduced = TypeVar("Reduced")

# Keras casts labels to the dtype of the loss: integers are exact up to here.
_EXACT_INTEGERS = {"float16": 2**11, "bfloat16": 2**8}


class LossArguments(TypedDict, total=False):
    """The arguments of every loss."""

    reduction: str | None
    name: str | None
    dtype: Any


class ScoreLossArguments(LossArguments, total=False):
    """The arguments of every loss of scores that are not probabilities."""

    ignore_class: int | None
    axis: int


class ClassLossArguments(ScoreLossArguments, total=False):
    """The arguments of every loss of one label of K classes."""

    from_logits: bool


class ReaderLossArguments(LossArguments, total=False):
    """The arguments of every loss of probabilities."""

    from_logits: bool
    axis: int


class BinaryLossArguments(ReaderLossArguments, total=False):
    """The arguments of every loss of independent binary labels."""

    label_reduction: LabelReduction


class EitherArguments(ReaderLossArguments, Generic[Ignored, Reduced], total=False):
    """The arguments of a constructor that losses of both kinds share.

    One that a loss does not take has the type `Never`.
    """

    ignore_class: Ignored
    label_reduction: Reduced


class CalibrationLoss(Configurable, keras.losses.Loss, ABC):
    """Base of the losses, with hyperparameters that callbacks may change.

    Args:
        reduction: how Keras reduces the losses of the samples, as in
            `keras.losses.Loss`.
        name: name of the loss; by default the name of its class in snake case.
        dtype: dtype of the loss's computations; by default `keras.config.floatx()`.
            On torch Keras averages a float64 batch in float32; `reduction="sum"` and
            `None` keep the digits.

    Raises:
        ValueError: for arguments out of range, and for shapes that do not fit.
    """

    # Whether a call of the function form makes this loss, which then keeps no state.
    _stateless = False

    def __init__(
        self,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        name = name or default_name(type(self))
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def hyperparameter(
        self,
        name: str,
        value: float | Schedule,
        low: float = 0.0,
        high: float = float("inf"),
    ) -> Hyperparameter:
        """Returns a number that a schedule or a callback may move during `fit`.

        In the function form of the loss it is a constant.

        Args:
            name: the name in the logs.
            value: the initial value, or a schedule by the step.
            low: the smallest value allowed.
            high: the largest value allowed.
        """
        kind: type[Any] = Constant if self._stateless else Hyperparameter
        made: Hyperparameter = kind(value, low, high, name, self.dtype)
        return made

    @property
    def hyperparameters(self) -> dict[str, Hyperparameter]:
        """What a callback may change during `fit`, by name."""
        return {k: v for k, v in vars(self).items() if isinstance(v, Hyperparameter)}

    def __setattr__(self, name: str, value: Any) -> None:
        # `loss.gamma = 0.3` changes the value of gamma; a float in its place would be
        # baked into the compiled step.
        held = vars(self).get(name)
        if isinstance(held, Hyperparameter) and not isinstance(value, Hyperparameter):
            held.assign(value)
        else:
            super().__setattr__(name, value)

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        # Keras's own copies labels, and logits of half precision, into float32.
        y_true, y_pred, sample_weight = self.prepare(y_true, y_pred, sample_weight)
        with keras.name_scope(self.name):
            losses = self.call(as_tensor(y_true), y_pred)
            masks = [get_keras_mask(x) for x in (y_pred, losses)]
            masks = [ops.cast(mask, "bool") for mask in masks if mask is not None]
            loss = reduce_weighted_values(
                losses,
                sample_weight=sample_weight,
                mask=functools.reduce(ops.logical_and, masks) if masks else None,
                reduction=self.reduction,
                dtype=self.dtype,
            )
        return self.moving(loss)

    def moving(self, loss: Tensor) -> Tensor:
        """Returns the loss; its gradient moves the hyperparameters with schedules."""
        for hyperparameter in self.hyperparameters.values():
            loss = hyperparameter.moved_by(loss)
        return loss

    def prepare(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns the arguments of a call in the form in which Keras reads them right.

        What calls the loss by `call` prepares the arguments first, too, and ends
        with `moving`.
        """
        y_true, y_pred, sample_weight = require_call(y_true, y_pred, sample_weight)
        # Keras would read a list as a structure of scalars.
        if isinstance(y_true, list | tuple):
            y_true = ops.convert_to_tensor(y_true)
        if isinstance(sample_weight, list | tuple | int | float):
            sample_weight = ops.convert_to_tensor(sample_weight)
        # A cast drops the mask, which losses of a batch read.
        mask, y_pred = get_keras_mask(y_pred), ops.convert_to_tensor(y_pred)
        if self.dtype != "float32" or not is_half(y_pred):
            y_pred = ops.convert_to_tensor(y_pred, self.dtype)
        if mask is not None:
            set_keras_mask(y_pred, mask)
        if sample_weight is not None:
            axis, rank = getattr(self, "axis", -1), len(y_pred.shape)
            sample_weight = without_class_axis(sample_weight, rank, axis)
            # Keras would broadcast from the right: over the positions.
            if 0 < len(sample_weight.shape) < rank - 1:
                raise ValueError(
                    "`sample_weight` must have one weight for each position, or an "
                    "axis of size 1. From `class_weight`, Keras makes one weight "
                    "for all positions of a sample: use AlphaBalancedCE instead. "
                    f"Received: sample_weight.shape={tuple(sample_weight.shape)}, "
                    f"y_pred.shape={tuple(y_pred.shape)}"
                )
            positions = list(ops.shape(y_pred))
            if 1 < rank and -rank <= axis < rank:
                del positions[axis]
            _require_fit(sample_weight.shape, positions)
            if rank - 1 == len(sample_weight.shape) and 1 in sample_weight.shape[1:]:
                sample_weight = ops.broadcast_to(sample_weight, positions)
            # On torch Keras multiplies a mask into the weights in place.
            sample_weight = ops.copy(sample_weight)
        for hyperparameter in self.hyperparameters.values():
            hyperparameter.notice_step()
        return y_true, y_pred, sample_weight

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_config, (self.get_config(),)


class ClassLoss(IgnoringReader, CalibrationLoss):
    """Base of the losses of one label of K classes. A subclass gives `sample_losses`.

    Args:
        from_logits: whether `y_pred` are logits. Probabilities that come straight
            from a Keras softmax are traced back to their logits; others count as at
            least the smallest normal float (1.2e-38 in float32).
        ignore_class: integer label whose samples are ignored, such as padding.
        axis: the axis of the classes in `y_pred`, and in targets.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or one-hot, soft or
            mixup targets t of shape `(..., K)`, which give sum_i t_i loss(i).
        y_pred: logits or probabilities of shape `(..., K)`. Probabilities are used as
            they are; Keras's losses divide each row by its sum.
    """

    # Whether the loss of a sample depends on no other sample.
    of_one_sample = True

    @abstractmethod
    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample of a batch, of shape (N,)."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the loss of each sample, 0 where it is ignored or masked."""
        batch: ClassBatch = self.read(y_true, y_pred, through_softmax=True)
        exact = _EXACT_INTEGERS.get(self.dtype)
        if exact and batch.num_classes > exact:
            raise ValueError(
                f"dtype {self.dtype!r} holds class labels only up to {exact}. "
                f"Received predictions of {batch.num_classes} classes; use "
                "dtype='float32' for the loss."
            )
        losses = batch.in_shape(self.sample_losses(batch))
        if batch.valid is not None:
            set_keras_mask(losses, batch.valid)
        return losses


class ScalarLoss(ABC):
    """A loss as two functions of log p, p and q = 1 - p, p being the outcome's.

    Each must be computed without cancellation.
    """

    label_smoothing: float = 0.0

    def traced(self) -> tuple[Scalar, Scalar, list[Tensor]]:
        """Returns value and weight as functions of the hyperparameters too, and these.

        A kernel takes them as arguments, because it may not capture what JAX traces.
        """
        kinds = Hyperparameter | Constant
        held = [h for h in vars(self).values() if isinstance(h, kinds) and h.is_traced]

        def of(function: Scalar) -> Scalar:
            def with_parameters(*arguments: Tensor) -> Tensor:
                with ExitStack() as stack:
                    for h, value in zip(held, arguments[3:], strict=True):
                        stack.enter_context(h.holding(value))
                    return function(*arguments[:3])

            return with_parameters if held else function

        return of(self.value), of(self.weight), [h.given() for h in held]

    @abstractmethod
    def value(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns the loss."""

    @abstractmethod
    def weight(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns -dl/dlog_p."""


class TrueClassLoss(ScalarLoss, ClassLoss):
    """Base of the losses l(p) of the true class's probability.

    A subclass gives `value` and `weight`, two functions of `log_p`, `p` and
    `q = 1 - p` of the true class, each computed without cancellation.

    Example:

    >>> class SmoothError(keras_calib.losses.TrueClassLoss):
    ...     def value(self, log_p, p, q):
    ...         return q
    ...     def weight(self, log_p, p, q):
    ...         return p
    >>> round(float(SmoothError()([0], [[0.7, 0.3]])), 6)
    0.3
    """

    # A subclass may set `label_smoothing`, e in (1 - e) l + e mean_j(-log p_j), and
    # `class_weights`, one factor for each class or one for all, `score_factor`, which
    # multiplies the logits, and `score_shift`, which adds a number to those of a class.
    score_factor: float = 1.0
    score_shift: Sequence[float] | None = None
    class_weights: float | Sequence[float] | None = None

    def smoothing(self, num_classes: int) -> float:
        """Returns the weight of the uniform term, in which every class has 1/K."""
        return self.label_smoothing

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample."""
        e = self.label_smoothing
        value, weight, parameters = self.traced()
        return batch.loss(
            value,
            weight,
            parameters=parameters,
            label_smoothing=e and self.smoothing(batch.num_classes),
            class_weights=self.class_weights,
            score_factor=self.score_factor,
            score_shift=self.score_shift,
        )


class BinaryLoss(ScalarLoss, Reader, CalibrationLoss):
    """Base of the losses of independent binary labels, one sigmoid each.

    A subclass gives `value` and `weight` as for a `TrueClassLoss`: functions of the
    probability p of the label's own outcome.

    Args:
        label_reduction: `"mean"` over the last axis, as Keras does, or `"sum"`.
        from_logits: whether `y_pred` are logits. Probabilities that come straight
            from a Keras sigmoid are traced back to their logits.
        axis: the axis of the labels.

    Call arguments:
        y_true: labels in [0, 1] of shape `(..., L)`; y in (0, 1) gives
            y loss(p) + (1 - y) loss(1 - p). Keras's binary focal loss instead averages
            p and 1 - p inside the power.
        y_pred: logits or probabilities of the same shape.
    """

    # A subclass may set `label_smoothing`, e in (1 - e) l + e/2 (-log p - log(1 - p)),
    # and the factors of the y = 1 and of the y = 0 part.
    positive_weight: float = 1.0
    negative_weight: float = 1.0

    def __init__(
        self,
        *,
        label_reduction: LabelReduction = "mean",
        **kwargs: Unpack[ReaderLossArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.label_reduction = one_of(
            "label_reduction", label_reduction, LabelReduction
        )

    def reader(self, y_pred: Tensor) -> type[BinaryBatch]:
        """Returns the class that reads a batch of these predictions."""
        return BinaryBatch

    def label_losses(self, batch: BinaryBatch) -> Tensor:
        """Returns the loss of each label of a batch, of shape (N, L)."""
        value, weight, parameters = self.traced()
        losses = batch.loss(
            value,
            weight,
            parameters=parameters,
            positive_weight=self.positive_weight,
            negative_weight=self.negative_weight,
        )
        e = self.label_smoothing
        return (1.0 - e) * losses + e * batch.uniform_cross_entropy if e else losses

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the loss of each sample, reduced over its labels."""
        batch: BinaryBatch = self.read(y_true, y_pred, through_softmax=True)
        losses = self.label_losses(batch)
        if self.label_reduction == "mean":
            losses = last_mean(losses)
        else:
            losses = ops.sum(losses, axis=-1)
        if batch.mask is not None:
            losses = ops.where(batch.mask > 0.0, losses, 0.0)
        return batch.unflatten(losses)


class CrossEntropy:
    """The `value` and the `weight` of cross-entropy."""

    value = staticmethod(cross_entropy_value)
    weight = staticmethod(cross_entropy_weight)


def _require_fit(shape: Sequence[int | None], positions: Sequence[Any]) -> None:
    """Refuses weights of another shape than the samples', where both are known."""
    extra = shape[len(positions) :]
    if any(n not in (1, None) for n in extra) or any(
        isinstance(p, int) and n not in (1, p, None)
        for n, p in zip(shape, positions, strict=False)
    ):
        raise ValueError(
            f"`sample_weight` must have the shape of the samples, {tuple(positions)}. "
            f"Received: sample_weight.shape={tuple(shape)}"
        )


def class_factors(name: str, value: Any) -> float | list[float] | None:
    """Returns one factor for all classes or one for each, checked to be at least 0."""
    high = float(np.finfo("float32").max)
    if np.ndim(value) == 0:
        return unless_none(in_range, name, value, 0.0, high)
    return [in_range(f"{name}[{k}]", v, 0.0, high) for k, v in enumerate(value)]
