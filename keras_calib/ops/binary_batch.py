"""A batch of independent binary labels and predictions, read once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from keras import ops

from keras_calib.ops.batch import Batch
from keras_calib.ops.binary import binary_kernel
from keras_calib.ops.cross_entropy import cross_entropy_value, cross_entropy_weight
from keras_calib.ops.events import Events
from keras_calib.ops.floats import cast, namespace
from keras_calib.ops.labels import binary_labels, is_valid, static_shape
from keras_calib.ops.true_class import ScalarFunction
from keras_calib.types import Tensor

__all__ = ["BinaryBatch", "binary_loss"]


class BinaryBatch(Batch):
    """N samples of L independent binary labels, as flat tensors.

    The arguments are those of `Batch`. `y_true` holds labels in [0, 1] of the shape of
    `y_pred`, where a last axis of size 1 may be missing; `y_pred` logits or
    probabilities of the positive class, of shape `(..., L)`, or `(N,)` of one label.

    Attributes:
        num_labels: L.
        targets: labels of shape (N, L), 0 where they are ignored.
        valid: which labels are not `ignore_class`, of shape (N, L); `None` where all
            are.
    """

    activations = frozenset({"sigmoid"})
    _of = "independent binary labels"
    _instead = (
        "use one, or for one label of K classes a loss such as GammaCE, and a metric "
        "such as ExpectedCalibrationError"
    )

    def _of_unknown_rank(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return ops.reshape(y_true, ops.shape(y_pred))

    def _read(self, y_true: Tensor, ignore_class: int | None) -> None:
        given = y_true.shape, self._y_pred.shape
        y_true = cast(y_true, self.dtype)
        y_true, y_pred = self.columns(y_true, self._y_pred, self.from_logits)
        y_true, self._y_pred = binary_labels(y_true, y_pred, given), y_pred
        xp = namespace(y_pred)
        self.num_labels = self.num_classes = xp.shape(y_pred)[-1]
        self._rows = xp.reshape(y_pred, (-1, self.num_labels))
        self.targets = xp.reshape(y_true, (-1, self.num_labels))
        self.valid = None
        if ignore_class is not None:
            self.valid = is_valid(self.targets, ignore_class)
            self.targets = xp.where(self.valid, self.targets, 0.0)

    @cached_property
    def scores(self) -> Tensor:
        """Logits or probabilities of shape (N, L)."""
        return cast(self._rows, self.dtype)

    def columns(
        self, y_true: Tensor, y_pred: Tensor, from_logits: bool
    ) -> tuple[Tensor, Tensor]:
        """Returns labels and predictions with an axis of labels."""
        if len(y_pred.shape) < 2:
            y_pred = namespace(y_pred).expand_dims(y_pred, -1)
        return y_true, y_pred

    @cached_property
    def sample_weight(self) -> Tensor | None:
        """Weights of shape (N,); of shape (N, L) where labels may be ignored."""
        weight = super().sample_weight
        if self.valid is None:
            return weight
        valid = cast(self.valid, self.dtype)
        return valid if weight is None else weight[:, None] * valid

    def _possible_scores(self) -> Tensor:
        return (self.probabilities >= 0.0) & (self.probabilities <= 1.0)

    def _possible_labels(self) -> Tensor:
        return (self.targets >= 0.0) & (self.targets <= 1.0)

    def loss(
        self,
        value: ScalarFunction,
        weight: ScalarFunction,
        *,
        positive_weight: float = 1.0,
        negative_weight: float = 1.0,
        parameters: Sequence[Tensor] = (),
    ) -> Tensor:
        """Computes y l(p) + (1 - y) l(1 - p) for each label, of shape (N, L).

        Args:
            value: the loss as a function of `(log_p, p, q)`, see
                `true_class_kernel`.
            weight: `-dl/dlog_p` as a function of the same.
            positive_weight: factor of the y = 1 part.
            negative_weight: factor of the y = 0 part.
            parameters: scalars that `value` and `weight` take after those.
        """
        return binary_kernel(
            self.targets,
            self._rows,
            value,
            weight,
            from_logits=self.from_logits,
            positive_weight=positive_weight,
            negative_weight=negative_weight,
            parameters=parameters,
        )

    def smoothed(self, e: float) -> BinaryBatch:
        """Returns a batch whose labels are (1 - e) y + e / 2."""
        return self._with(targets=(1.0 - e) * self.targets + 0.5 * e) if e else self

    @property
    def uniform_cross_entropy(self) -> Tensor:
        """(-log p - log(1 - p)) / 2 of each label, of shape (N, L)."""
        return self.smoothed(1.0).loss(cross_entropy_value, cross_entropy_weight)

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities of the positive class, of shape (N, L)."""
        return ops.sigmoid(self.scores) if self.from_logits else self.scores


class OneLabelBatch(BinaryBatch):
    """N samples of one binary label.

    A last axis of size 1 may be missing; one of size 2 holds the negative and the
    positive class. Otherwise as `BinaryBatch`.
    """

    activations = frozenset({"sigmoid", "softmax"})

    def _of_unknown_rank(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return ops.reshape(y_true, (*ops.shape(y_pred)[:-1], 1))

    def columns(
        self, y_true: Tensor, y_pred: Tensor, from_logits: bool
    ) -> tuple[Tensor, Tensor]:
        """Returns label and prediction with a last axis of size 1."""
        if len(y_pred.shape) > 1 and y_pred.shape[-1] == 2:
            y_pred = cast(y_pred, self.dtype)
            negative, positive = y_pred[..., :1], y_pred[..., 1:]
            y_pred = positive - negative if from_logits else positive
        elif len(y_pred.shape) < 2 or y_pred.shape[-1] != 1:
            y_pred = namespace(y_pred).expand_dims(y_pred, -1)
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 2:
            y_true = y_true[..., 1:]
        return y_true, y_pred

    @cached_property
    def sample_weight(self) -> Tensor | None:
        """Weights of shape (N,)."""
        weight = super().sample_weight
        return None if weight is None else ops.reshape(weight, (-1,))

    @cached_property
    def _flat(self) -> tuple[Tensor, Tensor]:
        return ops.reshape(self.probabilities, (-1,)), ops.reshape(self.targets, (-1,))

    @cached_property
    def squared_error(self) -> Tensor:
        """(p - y)^2, of shape (N,)."""
        p, y = self._flat
        return ops.square(p - y)

    @cached_property
    def positive_class(self) -> Events:
        """Is the label 1?"""
        return Events(*self._flat, self.sample_weight, precision=self.precision)

    @cached_property
    def predicted_class(self) -> Events:
        """Is the more probable label the right one?"""
        p, y = self._flat
        positive = p > 0.5
        return Events(
            ops.where(positive, p, 1.0 - p),
            ops.where(positive, y, 1.0 - y),
            self.sample_weight,
            precision=self.precision,
        )


def binary_loss(
    y_true: Tensor,
    y_pred: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    *,
    from_logits: bool = False,
    positive_weight: float = 1.0,
    negative_weight: float = 1.0,
) -> Tensor:
    """Computes y l(p) + (1 - y) l(1 - p) for each label, p = sigmoid(y_pred).

    Args:
        y_true: labels in [0, 1], of the shape of `y_pred`.
        y_pred: logits or probabilities of shape `(..., L)`. Probabilities of a Keras
            sigmoid are traced back to their logits.
        value: the loss as a function of `(log_p, p, q)`, see `true_class_loss`.
        weight: `-dl/dlog_p` as a function of the same.
        from_logits: whether `y_pred` are logits.
        positive_weight: factor of the y = 1 part.
        negative_weight: factor of the y = 0 part.

    Returns:
        Losses of the shape of `y_pred`.

    Raises:
        ValueError: where the shapes differ.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    batch = BinaryBatch(y_true, y_pred, from_logits=from_logits, through_softmax=True)
    losses = batch.loss(
        value, weight, positive_weight=positive_weight, negative_weight=negative_weight
    )
    return ops.reshape(losses, ops.shape(y_pred))


def is_one_probability(y_pred: Tensor, axis: int = -1) -> bool:
    """Says whether predictions are one value per sample, for the positive class."""
    if isinstance(y_pred, list | tuple):
        y_pred = np.asarray(y_pred)
    shape = static_shape("y_pred", y_pred, "")
    return len(shape) < 2 or (-len(shape) <= axis < len(shape) and shape[axis] == 1)


def two_classes(
    y_true: np.ndarray, y_pred: np.ndarray, from_logits: bool, axis: int = -1
) -> tuple[np.ndarray, np.ndarray]:
    """Turns predictions of the positive class into predictions of two classes.

    Args:
        y_true: labels of shape `(...)`, or with an axis of size 1, or of both classes;
            a label between 0 and 1 is the probability of the positive class.
        y_pred: logits or probabilities of the positive class, of shape `(...)`, or with
            an axis of size 1.
        from_logits: whether `y_pred` are logits.
        axis: where the axis of size 1 is, and where the classes go.

    Returns:
        Labels of shape `(...)`, or targets of the shape of the predictions; and
        predictions with two classes.
    """
    if y_pred.ndim > 1:
        y_pred = np.squeeze(y_pred, axis)
    if y_true.ndim > y_pred.ndim and y_true.shape[axis] == 1:
        y_true = np.squeeze(y_true, axis)
    negative = np.zeros_like(y_pred) if from_logits else 1.0 - y_pred
    if y_true.ndim == y_pred.ndim and np.any((y_true > 0) & (y_true < 1)):
        y_true = np.stack([1.0 - y_true, y_true], axis)
    return y_true, np.stack([negative, y_pred], axis)
