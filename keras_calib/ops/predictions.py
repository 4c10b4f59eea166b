"""A batch of labels and predictions, read once for every metric."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from keras import ops
from keras.src.backend import get_keras_mask  # an attribute, or on JAX a global

from keras_calib.ops.labels import class_labels, is_valid
from keras_calib.ops.rows import pick, row_indices


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
        y_pred = ops.cast(ops.convert_to_tensor(y_pred), dtype)
        labels, self.soft = class_labels(ops.convert_to_tensor(y_true), y_pred)
        if self.soft and ignore_class is not None:
            raise ValueError(
                "`ignore_class` needs integer labels. Received: "
                f"ignore_class={ignore_class}, y_true.shape={tuple(labels.shape)}"
            )
        self.from_logits = from_logits
        self.num_classes = y_pred.shape[-1]
        weight = _sample_weights(sample_weight, y_pred, dtype)
        if mask is not None:
            weight = weight * _sample_weights(mask, y_pred, dtype)
        if ignore_class is not None:
            valid = is_valid(labels, ignore_class)
            weight = weight * ops.cast(valid, dtype)
            labels = ops.where(valid, labels, 0)
        self.weight = ops.reshape(weight, (-1,))
        self.scores = ops.reshape(y_pred, (-1, self.num_classes))
        if self.soft:
            self.labels = None
            self.targets = ops.reshape(ops.cast(labels, dtype), (-1, self.num_classes))
        else:
            self.labels = ops.reshape(labels, (-1,))

    def weighted(self, *values: Any) -> Any:
        """Returns the columns (weight, weight * value, ...), of shape (N, 1 + V).

        What a sample of weight 0 holds, be it NaN, counts for nothing.
        """
        counts = ops.not_equal(self.weight, 0.0)
        columns = [ops.where(counts, self.weight * v, 0.0) for v in values]
        return ops.stack([self.weight, *columns], axis=-1)

    @cached_property
    def probabilities(self) -> Any:
        """Probabilities of shape (N, K)."""
        return ops.softmax(self.scores, axis=-1) if self.from_logits else self.scores

    @cached_property
    def confidence(self) -> Any:
        """The largest probability, of shape (N,)."""
        if not self.from_logits:
            return ops.max(self.scores, axis=-1)
        top = ops.max(self.scores, axis=-1, keepdims=True)
        return 1.0 / ops.sum(ops.exp(self.scores - top), axis=-1)

    @cached_property
    def hit(self) -> Any:
        """1 where the predicted class is the label, of shape (N,).

        The predicted class is the first of the largest. Of a soft label it is the
        probability that the label gives to that class.
        """
        predicted = ops.cast(ops.argmax(self.scores, axis=-1), "int32")
        if not self.soft:
            return ops.cast(ops.equal(predicted, self.labels), self.weight.dtype)
        return pick(self.targets, predicted)

    @cached_property
    def squared_error(self) -> Any:
        """sum_k (p_k - y_k)^2, of shape (N,)."""
        p = self.probabilities
        if self.soft:
            return ops.sum(ops.square(p - self.targets), axis=-1)
        errors = ops.scatter_update(
            p, row_indices(self.labels), pick(p, self.labels) - 1.0
        )
        return ops.sum(ops.square(errors), axis=-1)


def _sample_weights(weight: Any, y_pred: Any, dtype: str) -> Any:
    """Returns one weight for each sample, from weights of the leading axes."""
    shape = ops.shape(y_pred)[:-1]
    if weight is None:
        return ops.ones(shape, dtype=dtype)
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
