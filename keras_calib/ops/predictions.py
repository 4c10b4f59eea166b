"""A batch of labels and predictions, read once for every metric."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from keras import ops
from keras.src.backend import get_keras_mask  # an attribute, or on JAX a global

from keras_calib.ops.binning import NUM_FINE_BINS, bin_index, bin_sums, fine_index
from keras_calib.ops.cross_entropy import cross_entropy_value, cross_entropy_weight
from keras_calib.ops.entropy import entropy
from keras_calib.ops.floats import at_most, dtype_name
from keras_calib.ops.labels import class_labels, is_valid
from keras_calib.ops.rows import pick
from keras_calib.ops.true_class import true_class_loss


class Events:
    """N probabilities that something happens, and whether it did.

    Args:
        confidence: probabilities of shape (N,).
        hit: whether it happened, boolean, or a share, of shape (N,).
        weight: weights of shape (N,), or `None` where all are 1.
        precision: the dtype that the probabilities were computed in.
        group: int32 groups of shape (N,), such as classes, that have bins of their
            own; by default there is one group.
        num_groups: the number of groups.
    """

    def __init__(
        self,
        confidence: Any,
        hit: Any,
        weight: Any = None,
        *,
        precision: str,
        group: Any = None,
        num_groups: int = 1,
    ) -> None:
        if weight is not None:
            # What does not count may be NaN.
            confidence = ops.where(weight != 0.0, confidence, 0.0)
        self.confidence, self.hit, self.weight = confidence, hit, weight
        self.precision, self.group, self.num_groups = precision, group, num_groups
        self._sums: dict[int | None, Any] = {}

    def at_least(self, threshold: float) -> Events:
        """Returns the events of probability >= `threshold`."""
        counts = ops.cast(self.confidence >= threshold, self.confidence.dtype)
        return Events(
            self.confidence,
            self.hit,
            counts if self.weight is None else self.weight * counts,
            precision=self.precision,
            group=self.group,
            num_groups=self.num_groups,
        )

    @cached_property
    def columns(self) -> list[Any]:
        """The columns weight, confidence, hit and squared error, weighted."""
        hit = ops.cast(self.hit, self.confidence.dtype)
        error = ops.square(self.confidence - hit)
        return weighted(self.weight, self.confidence, self.hit, error)

    def sums(self, num_bins: int | None) -> Any:
        """Returns the sums of the columns in each bin, of shape (groups * M, 4).

        Args:
            num_bins: the number of equal-width bins, `None` for fine bins.
        """
        if num_bins == 1 and self._sums and self.group is None:
            # Of bins that are there the sum is at hand.
            return ops.sum(next(iter(self._sums.values())), axis=0, keepdims=True)
        if num_bins not in self._sums:
            if num_bins is None:
                count, index = NUM_FINE_BINS, fine_index(self.confidence)
            else:
                count = num_bins
                index = bin_index(self.confidence, num_bins, self.precision)
            if self.group is not None:
                index = self.group * count + index
            # Probabilities, so that no product exceeds the largest weight.
            bound = (
                1.0
                if self.weight is None
                else ops.max(ops.abs(self.weight), initial=0.0)
            )
            sums = bin_sums(self.columns, index, self.num_groups * count, bound)
            dtype = self.confidence.dtype
            self._sums[num_bins] = ops.stack([ops.cast(s, dtype) for s in sums], -1)
        return self._sums[num_bins]


class Predictions:
    """N flat samples of a classifier over K classes, with weights.

    What a metric asks of a batch is computed when it is asked for, and once.

    Args:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of shape
            `(..., K)`.
        y_pred: logits or probabilities of shape `(..., K)`.
        sample_weight: weights of shape `(...)` or of its leading axes.
        from_logits: whether `y_pred` are logits.
        ignore_class: integer label whose samples count for nothing.
        dtype: `"float32"` or `"float64"`.

    Raises:
        ValueError: for shapes that do not fit.
    """

    def __init__(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        dtype: str = "float32",
    ) -> None:
        mask = get_keras_mask(y_pred)
        y_pred, self.precision = _read(y_pred, from_logits, dtype)
        labels, self.soft = class_labels(ops.convert_to_tensor(y_true), y_pred)
        if self.soft and ignore_class is not None:
            raise ValueError(
                "`ignore_class` needs integer labels. Received: "
                f"ignore_class={ignore_class}, y_true.shape={tuple(labels.shape)}"
            )
        self.from_logits = from_logits
        self.num_classes = y_pred.shape[-1]
        valid = None
        if ignore_class is not None:
            valid = is_valid(labels, ignore_class)
            labels = ops.where(valid, labels, 0)
        self.weight = _flat_weights((sample_weight, mask, valid), y_pred, dtype)
        self.scores = ops.reshape(y_pred, (-1, self.num_classes))
        if self.soft:
            self.targets = ops.reshape(ops.cast(labels, dtype), (-1, self.num_classes))
        else:
            self.labels = ops.reshape(labels, (-1,))

    @cached_property
    def targets(self) -> Any:
        """The labels as probabilities of shape (N, K)."""
        return ops.one_hot(self.labels, self.num_classes, dtype=self.scores.dtype)

    @cached_property
    def _top(self) -> tuple[Any, Any]:
        # Twice as fast as max and argmax on TensorFlow. Ties: the first one wins.
        score, index = ops.top_k(self.scores, 1)
        return ops.squeeze(score, -1), ops.cast(ops.squeeze(index, -1), "int32")

    @property
    def predicted(self) -> Any:
        """The class of the largest score, the first of equals, of shape (N,)."""
        return self._top[1]

    @cached_property
    def _exponentials(self) -> tuple[Any, Any]:
        shifted = self.scores - ops.expand_dims(self._top[0], -1)
        exponentials = ops.exp(shifted)
        return exponentials, ops.sum(exponentials, axis=-1)

    @cached_property
    def probabilities(self) -> Any:
        """Probabilities of shape (N, K)."""
        if not self.from_logits:
            return self.scores
        exponentials, total = self._exponentials
        return exponentials / ops.expand_dims(total, -1)

    @cached_property
    def confidence(self) -> Any:
        """The largest probability, of shape (N,)."""
        return 1.0 / self._exponentials[1] if self.from_logits else self._top[0]

    @cached_property
    def hit(self) -> Any:
        """Whether the predicted class is the label, of shape (N,).

        Of a soft label it is the probability that the label gives to that class.
        """
        if not self.soft:
            return ops.equal(self.predicted, self.labels)
        return pick(self.targets, self.predicted)

    @cached_property
    def top_label(self) -> Events:
        """Is the predicted class the label?"""
        return Events(self.confidence, self.hit, self.weight, precision=self.precision)

    def top(self, k: int) -> Events:
        """Is the label among the k most probable classes?"""
        if k > self.num_classes:
            raise ValueError(
                f"`k` must be at most the number of classes, {self.num_classes}. "
                f"Received: {k}"
            )
        p, index = ops.top_k(self.probabilities, k)
        if self.soft:
            hit = ops.sum(ops.take_along_axis(self.targets, index, axis=-1), axis=-1)
        else:
            label = ops.cast(ops.expand_dims(self.labels, -1), index.dtype)
            hit = ops.any(ops.equal(index, label), axis=-1)
        mass = at_most(ops.sum(p, axis=-1), 1.0)
        return Events(mass, hit, self.weight, precision=self.precision)

    @cached_property
    def squared_error(self) -> Any:
        """sum_k (p_k - y_k)^2, of shape (N,)."""
        return ops.sum(ops.square(self.probabilities - self.targets), axis=-1)

    @cached_property
    def every_class(self) -> Events:
        """Is class k the label? N * K events, a group each class."""
        return _grouped(self.probabilities, self.targets, self.weight, self.precision)

    @cached_property
    def cross_entropy(self) -> Any:
        """-sum_k y_k log p_k, of shape (N,)."""
        return true_class_loss(
            self.targets if self.soft else self.labels,
            self.scores,
            cross_entropy_value,
            cross_entropy_weight,
            from_logits=self.from_logits,
        )

    @cached_property
    def entropy(self) -> Any:
        """-sum_k p_k log p_k, of shape (N,)."""
        return entropy(self.scores, self.from_logits)


class BinaryPredictions:
    """N flat samples of L independent binary labels, with weights.

    Args:
        y_true: labels in [0, 1], of the shape of `y_pred`; a last axis of size 1
            may be missing in either.
        y_pred: logits or probabilities of the positive class, of shape `(..., L)`.
        sample_weight: weights of shape `(...)`, or of its leading axes.
        from_logits: whether `y_pred` are logits.
        ignore_class: label that counts for nothing.
        dtype: `"float32"` or `"float64"`.

    Raises:
        ValueError: for shapes that do not fit.
    """

    def __init__(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        dtype: str = "float32",
    ) -> None:
        mask = get_keras_mask(y_pred)
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        shapes = tuple(y_true.shape), tuple(y_pred.shape)
        y_pred, self.precision = _read(y_pred, from_logits, dtype)
        y_true, y_pred = self.columns(ops.cast(y_true, dtype), y_pred, from_logits)
        if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
            y_true = ops.expand_dims(y_true, -1)
        if len(y_true.shape) != len(y_pred.shape) or any(
            a is not None and b is not None and a != b
            for a, b in zip(y_true.shape, y_pred.shape, strict=True)
        ):
            raise ValueError(
                "`y_true` must be binary labels of the shape of `y_pred`. Received: "
                f"y_true.shape={shapes[0]}, y_pred.shape={shapes[1]}"
            )
        self.num_labels = self.num_classes = y_pred.shape[-1]
        self.weight = _flat_weights((sample_weight, mask), y_pred, dtype)
        p = ops.sigmoid(y_pred) if from_logits else y_pred
        self.probabilities = ops.reshape(p, (-1, self.num_labels))
        self.targets = ops.reshape(y_true, (-1, self.num_labels))
        if ignore_class is not None:
            valid = ops.not_equal(self.targets, ignore_class)
            self.targets = ops.where(valid, self.targets, 0.0)
            weight = 1.0 if self.weight is None else ops.expand_dims(self.weight, -1)
            self.weight = weight * ops.cast(valid, dtype)
            if self.num_labels == 1:
                self.weight = ops.reshape(self.weight, (-1,))

    def columns(self, y_true: Any, y_pred: Any, from_logits: bool) -> tuple[Any, Any]:
        """Returns labels and predictions with an axis of labels."""
        return y_true, y_pred

    @cached_property
    def every_label(self) -> Events:
        """Is label l present? N * L events, a group each label."""
        return _grouped(self.probabilities, self.targets, self.weight, self.precision)


class OneLabel(BinaryPredictions):
    """N flat samples of one binary label.

    A last axis of size 1 may be missing; one of size 2 holds the negative and the
    positive class. Otherwise as `BinaryPredictions`.
    """

    def columns(self, y_true: Any, y_pred: Any, from_logits: bool) -> tuple[Any, Any]:
        """Returns label and prediction with a last axis of size 1."""
        if len(y_pred.shape) > 1 and y_pred.shape[-1] == 2:
            negative, positive = y_pred[..., :1], y_pred[..., 1:]
            y_pred = positive - negative if from_logits else positive
        elif not len(y_pred.shape) or y_pred.shape[-1] != 1:
            y_pred = ops.expand_dims(y_pred, -1)
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 2:
            y_true = y_true[..., 1:]
        return y_true, y_pred

    @cached_property
    def _flat(self) -> tuple[Any, Any]:
        return ops.reshape(self.probabilities, (-1,)), ops.reshape(self.targets, (-1,))

    @cached_property
    def squared_error(self) -> Any:
        """(p - y)^2, of shape (N,)."""
        p, y = self._flat
        return ops.square(p - y)

    @cached_property
    def predicted_class(self) -> Events:
        """Is the more probable of the two outcomes the label?"""
        p, y = self._flat
        positive = p > 0.5
        return Events(
            ops.where(positive, p, 1.0 - p),
            ops.where(positive, y, 1.0 - y),
            self.weight,
            precision=self.precision,
        )


def weighted(weight: Any, *values: Any) -> list[Any]:
    """Returns the columns weight and weight * value of each of the values.

    What a sample of weight 0 holds, be it NaN, counts for nothing.

    Args:
        weight: weights of shape (N,), or `None` where all are 1.
        *values: tensors of shape (N, ...). Boolean ones stay so under no weights.
    """
    if weight is None:
        return [ops.ones(ops.shape(values[0])[:1], dtype="bool"), *values]

    def times(value):
        shape = (-1, *(1 for _ in value.shape[1:]))
        w = ops.reshape(weight, shape)
        return ops.where(w != 0, w * ops.cast(value, weight.dtype), 0.0)

    return [weight, *(times(value) for value in values)]


def _read(y_pred: Any, from_logits: bool, dtype: str) -> tuple[Any, str]:
    """Returns predictions as `dtype`, and the dtype of their probabilities."""
    y_pred = ops.convert_to_tensor(y_pred)
    given = dtype_name(y_pred)
    if given == "float32" and not from_logits:
        return ops.cast(y_pred, dtype), given
    return ops.cast(y_pred, dtype), dtype


def _grouped(p: Any, y: Any, weight: Any, precision: str) -> Events:
    """Returns events of shape (N * K,), with their column as group."""
    k = p.shape[-1]
    if weight is not None:
        if len(weight.shape) == 1:
            weight = ops.expand_dims(weight, -1)
        weight = ops.reshape(ops.broadcast_to(weight, ops.shape(p)), (-1,))
    group = ops.arange(k, dtype="int32")
    return Events(
        ops.reshape(p, (-1,)),
        ops.reshape(y, (-1,)),
        weight,
        precision=precision,
        group=ops.reshape(ops.broadcast_to(group, ops.shape(p)), (-1,)),
        num_groups=k,
    )


def _flat_weights(factors: Sequence[Any], y_pred: Any, dtype: str) -> Any:
    """Returns the product of weights and masks as (N,), `None` without any."""
    factors = [_sample_weights(f, y_pred, dtype) for f in factors if f is not None]
    if not factors:
        return None
    product = factors[0]
    for factor in factors[1:]:
        product = product * factor
    return ops.reshape(product, (-1,))


def _sample_weights(weight: Any, y_pred: Any, dtype: str) -> Any:
    """Returns one weight for each sample, from weights of the leading axes."""
    shape = ops.shape(y_pred)[:-1]
    weight = ops.cast(ops.convert_to_tensor(weight), dtype)
    rank = len(shape)
    if len(weight.shape) == rank + 1 and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, -1)
    if len(weight.shape) > rank or any(
        w is not None and p is not None and w not in (1, p)
        for w, p in zip(weight.shape, y_pred.shape, strict=False)
    ):
        raise ValueError(
            "`sample_weight` and masks must have the shape of the samples "
            f"{tuple(y_pred.shape[:-1])} or of its leading axes. "
            f"Received: {tuple(weight.shape)}"
        )
    missing = (1,) * (rank - len(weight.shape))
    weight = ops.reshape(weight, (*ops.shape(weight), *missing))
    return ops.broadcast_to(weight, shape)
