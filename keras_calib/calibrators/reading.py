"""Reads predictions, labels and weights as numpy arrays, and checks their values."""

from collections.abc import Iterable

import numpy as np
from keras import ops

from keras_calib.ops.binary_batch import two_classes
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.labels import binary_labels, sample_weights
from keras_calib.types import Array, Tensor


def to_numpy(x: Tensor) -> Array:
    """Returns a tensor, or what converts to one, as a numpy array."""
    return np.asarray(ops.convert_to_numpy(x) if ops.is_tensor(x) else x)


def flat(
    scores: Tensor,
    labels: Tensor,
    weights: Iterable[Tensor | None] = (),
    ignore_class: int | None = None,
) -> tuple[Array, Array, Array]:
    """Returns scores of shape (N, K), labels, and weights of shape (N,).

    Args:
        scores: logits or probabilities of shape `(..., K)`.
        labels: labels of any format. They keep their dtype.
        weights: factors of the weights, of shape `(...)` or of its leading axes.
        ignore_class: integer label of weight 0.

    Raises:
        ValueError: for shapes that do not fit.
    """
    scores, labels = to_numpy(scores), to_numpy(labels)
    if scores.dtype.kind in "biu":
        scores = scores.astype("float64")
    valid = None
    if scores.shape[-1:] == (1,):
        given = labels.shape, scores.shape
        rows, labels = scores.reshape(-1, 1), binary_labels(labels, scores, given)
        labels = labels.reshape(-1)
    else:
        batch = ClassBatch(labels, scores, from_logits=True, ignore_class=ignore_class)
        rows, valid = batch.scores, batch.valid
        # Not batch.labels, whose int32 would turn a label 0.5 into 0.
        labels = labels.reshape(batch.labels.shape)
    weight = sample_weights([*weights, valid], scores, "float64")
    return rows, labels, np.ones(len(rows)) if weight is None else weight


def as_logits(
    x: Tensor, labels: Tensor, from_logits: bool, min_probability: float
) -> tuple[Array, Array]:
    """Returns logits of at least two classes, and labels that fit them.

    Args:
        x: logits or probabilities of shape `(..., K)`, or `(..., 1)` of class 1.
        labels: labels of any format; of one output also its probabilities.
        from_logits: whether `x` are logits.
        min_probability: the value that smaller probabilities are read as.

    Raises:
        ValueError: for probabilities outside [0, 1].
    """
    x, labels = to_numpy(x), to_numpy(labels)
    if not from_logits:
        x = x.astype("float64")
        if not np.all((x >= 0) & (x <= 1 + 1e-3)):
            raise ValueError(
                "With from_logits=False predictions must be probabilities in [0, 1]. "
                f"Received: values from {np.min(x)} to {np.max(x)}"
            )
    if x.ndim and x.shape[-1] == 1:
        labels, x = two_classes(labels, x, from_logits)
    return (x if from_logits else np.log(np.maximum(x, min_probability))), labels


def whole_labels(labels: Array, num_classes: int) -> Array:
    """Returns integer labels, checked, as int64.

    Raises:
        ValueError: for labels outside [0, K), and for labels of one class only.
    """
    low, high = labels.min(), labels.max()
    if not (low >= 0 and high < num_classes and np.all(labels == np.floor(labels))):
        raise ValueError(
            f"`labels` must be whole numbers in [0, {num_classes}), the classes of the "
            f"logits. Received: values from {low} to {high}"
        )
    if low == high:
        raise _one_class(low)
    return labels.astype("int64")


def soft_labels(labels: Array, num_classes: int) -> Array:
    """Returns one-hot or soft labels, checked, as float64.

    Raises:
        ValueError: for labels that are no distributions, and for labels of one class
            only.
    """
    labels = labels.astype("float64")
    sums = labels.sum(-1)
    if not ((labels >= 0).all() and np.allclose(sums, 1, atol=1e-3)):
        raise ValueError(
            f"Soft labels must be in [0, 1] and sum to 1 over {num_classes} classes. "
            f"Received: values from {labels.min()} to {labels.max()}, sums from "
            f"{sums.min()} to {sums.max()}"
        )
    named = labels.any(0)
    if np.count_nonzero(named) == 1:
        raise _one_class(named.argmax())
    return labels


def _one_class(label: np.generic) -> ValueError:
    return ValueError(
        "`labels` must contain at least two classes: with one class every prediction "
        f"is right, and no confidence is too high. Received: class {int(label)} only"
    )
