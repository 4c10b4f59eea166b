"""A batch of labels and predictions over K classes, read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Unpack

import keras
import numpy as np
from keras import ops

from keras_calib.ops.batch import Batch, ReaderArguments, are_distributions
from keras_calib.ops.cross_entropy import cross_entropy_value, cross_entropy_weight
from keras_calib.ops.entropy import entropy
from keras_calib.ops.events import Events
from keras_calib.ops.floats import at_most, cast, namespace
from keras_calib.ops.labels import class_labels, is_valid, num_classes
from keras_calib.ops.rows import one_hot, pick, top, top_k
from keras_calib.ops.summary import Summary, summary
from keras_calib.ops.true_class import ScalarFunction, true_class_kernel
from keras_calib.types import Tensor

__all__ = ["ClassBatch", "true_class_loss"]


class ClassBatch(Batch):
    """N samples of one label of K classes, as flat tensors.

    The arguments are those of `Batch`. `y_true` holds integer labels of shape `(...)`
    or `(..., 1)`, or targets of shape `(..., K)`; `y_pred` logits or probabilities of
    shape `(..., K)`.

    Attributes:
        soft: whether the labels are targets.
        labels: int32 labels of shape (N,), 0 where they are ignored, and outside [0, K)
            where they are invalid; or soft targets of shape (N, K).
        valid: which labels are not `ignore_class`, of the shape of the samples;
            `None` where all are.

    Raises:
        ValueError: for shapes that do not fit, and for `ignore_class` with soft
            targets.
    """

    activations = frozenset({"softmax"})
    _of = "one label of K classes"
    _instead = (
        "use one, or for independent labels a binary loss such as GammaBCE, and a "
        "metric such as MultilabelECE"
    )

    def _read(self, y_true: Tensor, ignore_class: int | None) -> None:
        y_pred = self._y_pred
        labels, self.soft = class_labels(y_true, y_pred)
        if self.soft and ignore_class is not None:
            raise ValueError(
                "`ignore_class` needs integer labels. Received: "
                f"ignore_class={ignore_class}, y_true.shape={tuple(labels.shape)}"
            )
        xp = namespace(y_pred)
        self.valid = None
        if ignore_class is not None:
            self.valid = is_valid(labels, ignore_class)
            labels = xp.where(self.valid, labels, 0)
            self._factors.append(self.valid)
        k = xp.shape(y_pred)[-1]
        self._rows = xp.reshape(y_pred, (-1, k))
        if self.soft:
            self.labels = xp.reshape(cast(labels, self.dtype), (-1, k))
        else:
            self.labels = xp.reshape(labels, (-1,))

    @cached_property
    def scores(self) -> Tensor:
        """Logits or probabilities of shape (N, K)."""
        return cast(self._rows, self.dtype)

    @cached_property
    def num_classes(self) -> int:
        """K, which must be known."""
        return num_classes(self._y_pred)

    def in_shape(self, losses: Tensor) -> Tensor:
        """Returns losses of shape (N,) in the samples' shape.

        They are 0 where the sample is ignored or masked, and NaN where any other label
        is outside [0, K).
        """
        if not self.soft:
            losses = ops.where(self._places == self.labels, losses, float("nan"))
        if self.sample_weight is not None:
            losses = ops.where(self.sample_weight > 0.0, losses, 0.0)
        return self.unflatten(losses)

    @cached_property
    def _places(self) -> Tensor:
        # The index of the label's score, clipped into the row: backends treat an index
        # outside it differently.
        labels = ops.convert_to_tensor(self.labels)
        if self.soft:
            if self.sample_weight is None:
                return labels
            # In the gradient of a masked sample, 0 * NaN would be NaN.
            return ops.where(self.sample_weight[:, None] > 0.0, labels, 0.0)
        return ops.clip(labels, 0, ops.shape(self._rows)[-1] - 1)

    def with_scores(self, scores: Tensor) -> ClassBatch:
        """Returns a batch of the same labels and other scores of shape (N, K)."""
        return self._with(_rows=scores)

    def smoothed(self, e: float) -> ClassBatch:
        """Returns a batch whose labels are the targets (1 - e) y + e / K."""
        if not e:
            return self
        targets = (1.0 - e) * self.targets + e / self.num_classes
        return self._with(labels=targets, soft=True)

    # What losses and metrics ask for.

    def loss(
        self,
        value: ScalarFunction,
        weight: ScalarFunction,
        *,
        label_smoothing: float = 0.0,
        class_weights: float | Sequence[float] | None = None,
        parameters: Sequence[Tensor] = (),
        score_factor: float = 1.0,
        score_shift: Sequence[float] | None = None,
    ) -> Tensor:
        """Computes a loss of the true class's probability, of shape (N,).

        Soft targets t give sum_i t_i l(p_i).

        Args:
            value: the loss as a function of `(log_p, p, q)`, see
                `true_class_kernel`.
            weight: `-dl/dlog_p` as a function of the same.
            label_smoothing: e in (1 - e) l + e * mean_j(-log p_j).
            class_weights: one factor for each of the K classes, or one for all.
            parameters: scalars that `value` and `weight` take after those.
            score_factor: a factor of the logits.
            score_shift: numbers that are added to the logits, one for each class.
        """
        labels, factors = self._places, None
        if score_shift is not None:
            _require_each(score_shift, self.num_classes)
        if class_weights is not None:
            factors = _class_weights(class_weights, self.num_classes, self.dtype)
            labels = labels * factors if self.soft else labels
        losses = true_class_kernel(
            labels,
            ops.convert_to_tensor(self._rows),
            value,
            weight,
            soft=self.soft,
            from_logits=self.from_logits,
            label_smoothing=label_smoothing,
            parameters=parameters,
            score_factor=score_factor,
            score_shift=score_shift,
        )
        if factors is not None and not self.soft:
            losses = losses * ops.take(factors, labels)
        return losses

    def expected_loss(self, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Computes loss(label, scores) of each sample, of shape (N,).

        Soft targets t give sum_i t_i loss(i, scores), from K losses per sample.

        Args:
            loss: a function of int32 labels (N,) and scores (N, K) that gives (N,).
        """
        labels, scores = self._places, ops.convert_to_tensor(self.scores)
        if self.sample_weight is not None:
            # In the gradient of an ignored sample, too, 0 * NaN would be NaN.
            scores = ops.where(self.sample_weight[:, None] > 0.0, scores, 0.0)
        if not self.soft:
            return loss(labels, scores)
        n, k = ops.shape(scores)[0], self.num_classes
        # A masked class (a logit of -inf) whose target is 0 has an infinite loss, which
        # makes the sum NaN. The loss of the class with the largest target replaces it.
        asked = ops.logical_or(scores > -float("inf"), labels > 0.0)
        top = ops.cast(ops.argmax(labels, axis=-1, keepdims=True), "int32")
        every = ops.reshape(ops.where(asked, ops.arange(k, dtype="int32"), top), (-1,))
        losses = loss(every, ops.repeat(scores, k, axis=0))
        return ops.sum(labels * ops.reshape(losses, (n, k)), axis=-1)

    @cached_property
    def cross_entropy(self) -> Tensor:
        """-sum_k y_k log p_k, of shape (N,)."""
        return self.loss(cross_entropy_value, cross_entropy_weight)

    @cached_property
    def negative_log_likelihood(self) -> Tensor:
        """The same for metrics, which need no gradient in closed form."""
        if self._summary is not None:
            return -self._summary.log_p
        return self.cross_entropy

    @cached_property
    def entropy(self) -> Tensor:
        """-sum_k p_k log p_k, of shape (N,)."""
        return entropy(self._rows, self.from_logits)

    @cached_property
    def targets(self) -> Tensor:
        """The labels as probabilities of shape (N, K)."""
        if self.soft:
            return self.labels
        return one_hot(self.labels, self.num_classes, self.dtype)

    @property
    def happened(self) -> Tensor:
        """Whether each class is the label, of shape (N, K), boolean unless soft."""
        if self.soft:
            return self.labels
        classes = namespace(self.labels).arange(self.num_classes, dtype="int32")
        return self.labels[:, None] == classes

    @cached_property
    def _summary(self) -> Summary | None:
        # On other backends than JAX, each part of it costs a pass.
        if keras.backend.backend() != "jax" or not self.from_logits or self.soft:
            return None
        return summary(*map(ops.convert_to_tensor, (self.scores, self.labels)))

    @cached_property
    def _top(self) -> tuple[Tensor, Tensor]:
        if self._summary is not None:
            return self._summary.top, self._summary.index
        return top(self.scores)

    @property
    def predicted(self) -> Tensor:
        """The class of the largest score, the first one if tied, of shape (N,)."""
        return self._top[1]

    def _possible_scores(self) -> Tensor:
        if self.from_logits:
            return self.confidence > 0.0  # False for NaN
        return are_distributions(self.scores)

    def _possible_labels(self) -> Tensor:
        labels = self.labels
        if self.soft:
            return are_distributions(labels)
        return (labels >= 0) & (labels < self.num_classes)

    @cached_property
    def _exponentials(self) -> Tensor:
        # The scores may be numpy's, which torch's operators do not take.
        return ops.exp(ops.subtract(self.scores, ops.expand_dims(self._top[0], -1)))

    @cached_property
    def _total(self) -> Tensor:
        if self._summary is not None:
            return self._summary.total
        return ops.sum(self._exponentials, axis=-1)

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities of shape (N, K)."""
        if not self.from_logits:
            return self.scores
        if keras.backend.backend() == "torch":  # one launch instead of four
            return ops.convert_to_tensor(self.scores).softmax(-1)
        return self._exponentials / ops.expand_dims(self._total, -1)

    @cached_property
    def confidence(self) -> Tensor:
        """The largest probability, of shape (N,)."""
        if not self.from_logits:
            return self._top[0]
        if keras.backend.backend() == "torch":
            return ops.amax(self.probabilities, axis=-1)
        return 1.0 / self._total

    @cached_property
    def hit(self) -> Tensor:
        """Whether the predicted class is the label, of shape (N,).

        For a soft label it is the probability of the predicted class.
        """
        if not self.soft:
            return ops.equal(self.predicted, self.labels)
        return pick(self.labels, self.predicted)

    @cached_property
    def squared_error(self) -> Tensor:
        """sum_k (p_k - y_k)^2, of shape (N,)."""
        if self._summary is not None:
            return self._summary.squared_error
        error = ops.subtract(self.probabilities, self.targets)
        return ops.sum(ops.square(error), axis=-1)

    @cached_property
    def top_label(self) -> Events:
        """Is the predicted class the label?"""
        return Events(
            self.confidence, self.hit, self.sample_weight, precision=self.precision
        )

    def top(self, k: int) -> Events:
        """Is the label among the k most probable classes?"""
        if k > self.num_classes:
            raise ValueError(
                f"`k` must be at most the number of classes, {self.num_classes}. "
                f"Received: {k}"
            )
        p, index = top_k(self.probabilities, k)
        if self.soft:
            hit = ops.sum(ops.take_along_axis(self.labels, index, axis=-1), axis=-1)
        else:
            label = ops.cast(ops.expand_dims(self.labels, -1), index.dtype)
            hit = ops.any(ops.equal(index, label), axis=-1)
        mass = at_most(ops.sum(p, axis=-1), 1.0)
        return Events(mass, hit, self.sample_weight, precision=self.precision)


def true_class_loss(
    y_true: Tensor,
    y_pred: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    *,
    label_smoothing: float = 0.0,
    class_weights: float | Sequence[float] | None = None,
    score_factor: float = 1.0,
    score_shift: Sequence[float] | None = None,
    **reading: Unpack[ReaderArguments],
) -> Tensor:
    """Computes a loss of the true class's probability, one value per sample.

    Soft targets t give sum_i t_i l(p_i).

    Args:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of shape
            `(..., K)`.
        y_pred: logits or probabilities of shape `(..., K)`. Probabilities of a Keras
            softmax are traced back to their logits, as Keras's own cross-entropy
            does; others are clipped to at least the smallest normal float.
        value: the loss as a function of `(log_p, p, q)`, where q = 1 - p. `p` is at
            least the smallest normal float; `log_p` may be below its logarithm.
        weight: `-dl/dlog_p` as a function of the same.
        label_smoothing: e in (1 - e) l + e * mean_j(-log p_j).
        class_weights: one factor for each of the K classes, or one for all.
        score_factor: a factor of the logits.
        score_shift: numbers that are added to the logits, one for each class.
        **reading: `from_logits`; `ignore_class`, an integer label whose samples give
            0; and `axis`, that of the classes.

    Returns:
        Losses of shape `(...)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: for shapes that do not fit, and for `ignore_class` with soft
            targets.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    batch = ClassBatch(y_true, y_pred, through_softmax=True, **reading)
    losses = batch.loss(
        value,
        weight,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        score_factor=score_factor,
        score_shift=score_shift,
    )
    return batch.in_shape(losses)


def _class_weights(
    factors: float | Sequence[float], num_classes: int, dtype: str
) -> Tensor:
    _require_each(factors, num_classes)
    return ops.broadcast_to(ops.convert_to_tensor(factors, dtype), (num_classes,))


def _require_each(numbers: float | Sequence[float], num_classes: int) -> None:
    if np.shape(numbers) not in ((), (num_classes,)):
        raise ValueError(
            "There must be one number for all classes, or one for each of the "
            f"{num_classes}. Received: {np.size(numbers)}"
        )
