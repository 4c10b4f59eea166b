"""Labels and weights in any format, told apart by static rank.

The functions take tensors, and numpy arrays, which stay numpy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_calib.ops.floats import cast, dtype_name, index_dtype, namespace
from keras_calib.types import Tensor

__all__ = ["class_labels", "is_valid"]


def static_shape(name: str, x: Tensor, why: str) -> Any:
    """Returns the shape of labels or predictions, whose rank must be known."""
    shape = getattr(x, "shape", None)
    if shape is None or getattr(shape, "rank", 0) is None:
        raise ValueError(f"`{name}` must have a static rank{why}. Received: {x}")
    return shape


def label_shape(y_true: Tensor) -> Any:
    """Returns the shape of labels, whose rank tells their format."""
    return static_shape("y_true", y_true, " to tell integer labels from one-hot ones")


def num_classes(y_pred: Tensor) -> int:
    """Returns the static size of the last axis of `y_pred`, at least 2."""
    shape = static_shape("y_pred", y_pred, ", shape (..., num_classes)")
    if len(shape) == 1:
        raise ValueError(
            "`y_pred` of shape (N,) is one probability per sample: use a binary loss "
            "or a metric such as BinaryECE, or give one sample of K classes as (1, K). "
            f"Received: y_pred.shape={tuple(shape)}"
        )
    if len(shape) == 0 or shape[-1] is None or shape[-1] < 2:
        raise ValueError(
            "`y_pred` must have shape (..., num_classes) with a static "
            "num_classes >= 2 (one sigmoid output belongs to a binary loss or a "
            f"metric such as BinaryECE). Received: y_pred.shape={tuple(shape)}"
        )
    return int(shape[-1])


def read_labels(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, bool]:
    """Tells the formats of labels apart, and keeps their dtype.

    Args:
        y_true: integers of shape `(...)` or `(..., 1)`, or one-hot, soft or mixup
            targets of shape `(..., K)`.
        y_pred: predictions of shape `(..., K)`.

    Returns:
        `(labels, soft)`: labels of shape `(...)` and `False`, or the targets of
        shape `(..., K)` and `True`.

    Raises:
        ValueError: where rank or last axis fits neither format.
    """
    shape = static_shape("y_pred", y_pred, ", shape (..., num_classes)")
    # The size may be unknown, as for the scores of a batch against itself.
    k = num_classes(y_pred) if len(shape) < 2 or shape[-1] is not None else None
    shape = label_shape(y_true)
    rank, expected = len(shape), len(y_pred.shape)
    if rank == expected and shape[-1] == k:
        return y_true, True
    if rank == expected and shape[-1] == 1:
        y_true, rank = namespace(y_true).squeeze(y_true, -1), rank - 1
    if rank != expected - 1 or not _fit(y_true.shape, y_pred.shape[:-1]):
        raise ValueError(
            "`y_true` must be integer labels of shape (...) or (..., 1), or targets "
            f"of shape (..., {k}), for `y_pred` of shape (..., {k}). "
            f"Received: y_true.shape={tuple(shape)}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    return y_true, False


def class_labels(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, bool]:
    """Reads labels of any format as `read_labels` does, integers as indices.

    A label that is not a whole number, such as 0.5, becomes the lowest int32, which is
    not a class.
    """
    labels, soft = read_labels(y_true, y_pred)
    dtype, indices = dtype_name(labels), index_dtype(labels)
    if soft or dtype == indices:
        return labels, soft
    whole = cast(labels, indices)
    same = cast(whole, dtype) == labels
    return namespace(labels).where(same, whole, np.iinfo("int32").min), soft


def integer_labels(y_true: Tensor, logits: Tensor) -> Tensor:
    """Reads labels of shape `(...)` or `(..., 1)` for logits, as `class_labels`."""
    labels, soft = class_labels(y_true, logits)
    if soft:
        raise ValueError(
            "`y_true` must be integer labels: targets of all classes are as large as "
            f"the logits. Received: y_true.shape={tuple(y_true.shape)} for "
            f"{logits.shape[-1]} classes"
        )
    return labels


def binary_labels(y_true: Tensor, y_pred: Tensor, given: tuple[Any, Any]) -> Tensor:
    """Returns independent binary labels of the shape of `y_pred`.

    Args:
        y_true: labels of the shape of `y_pred`; a last axis of size 1 may be missing.
        y_pred: predictions of shape `(..., L)`.
        given: the shapes of both as the user gave them, for the error.

    Raises:
        ValueError: where the shapes differ.
    """
    if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
        y_true = namespace(y_true).expand_dims(y_true, -1)
    if len(y_true.shape) != len(y_pred.shape) or not _fit(y_true.shape, y_pred.shape):
        raise ValueError(
            "`y_true` must be binary labels of the same shape as `y_pred`. Received: "
            f"y_true.shape={tuple(given[0])}, y_pred.shape={tuple(given[1])}"
        )
    return y_true


def is_valid(labels: Tensor, ignore_class: int) -> Tensor:
    """Marks with True the labels that are not `ignore_class`."""
    return namespace(labels).not_equal(labels, ignore_class)


def sample_weights(
    factors: Iterable[Tensor | None], y_pred: Tensor, dtype: str, axis: int = -1
) -> Tensor | None:
    """Multiplies weights and masks into one weight for each sample.

    Args:
        factors: weights or masks of shape `(...)` or of its leading axes, with or
            without an axis of the classes of size 1. `None` stands for all ones.
        y_pred: predictions of shape `(..., K)`.
        dtype: dtype of the result.
        axis: where the axis of the classes was in the predictions as they were given.

    Returns:
        Weights of shape `(N,)`, or `None` where all factors are `None`.

    Raises:
        ValueError: for shapes that do not fit.
    """
    each = [_spread(f, y_pred, dtype, axis) for f in factors if f is not None]
    if not each:
        return None
    product = math.prod(each[1:], start=each[0])
    return namespace(product).reshape(product, (-1,))


def without_class_axis(weight: Tensor, rank: int, axis: int) -> Tensor:
    """Removes the axis of the classes, of size 1, that weights of `rank` axes have."""
    # Where the size is unknown, Keras's squeeze raises.
    if 1 < rank == len(weight.shape) and weight.shape[axis] in (1, None):
        return namespace(weight).squeeze(weight, axis)
    return weight


def _spread(weight: Tensor, y_pred: Tensor, dtype: str, axis: int) -> Tensor:
    """Repeats weights of leading axes over the others."""
    xp = namespace(y_pred)
    leading = xp.shape(y_pred)[:-1]
    weight = cast(weight, dtype)
    rank = len(leading)
    weight = without_class_axis(weight, rank + 1, axis)
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
    weight = xp.reshape(weight, (*xp.shape(weight), *missing))
    return xp.broadcast_to(weight, leading)


def _fit(shape: Iterable[int | None], other: Iterable[int | None]) -> bool:
    """Says whether two shapes agree where both are known."""
    return all(
        a is None or b is None or a == b for a, b in zip(shape, other, strict=False)
    )
