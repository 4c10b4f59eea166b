"""Labels in any format, told apart by static rank."""

from __future__ import annotations

from typing import Any

from keras import ops


def num_classes(y_pred: Any) -> int:
    """Returns the static size of the last axis of `y_pred`, at least 2."""
    shape = getattr(y_pred, "shape", None)
    if shape is None or getattr(shape, "rank", 0) is None:
        raise ValueError(
            "`y_pred` must have a static rank, shape (..., num_classes). "
            f"Received: {y_pred}"
        )
    if len(shape) == 0 or shape[-1] is None or shape[-1] < 2:
        raise ValueError(
            "`y_pred` must have shape (..., num_classes) with a static "
            "num_classes >= 2 (one sigmoid output belongs to a binary loss or a "
            f"metric such as BinaryECE). Received: y_pred.shape={tuple(shape)}"
        )
    return int(shape[-1])


def class_labels(y_true: Any, y_pred: Any) -> tuple[Any, bool]:
    """Reads labels of any format.

    Args:
        y_true: integers of shape `(...)` or `(..., 1)`, or one-hot, soft or mixup
            targets of shape `(..., K)`.
        y_pred: predictions of shape `(..., K)`.

    Returns:
        `(labels, soft)`: int32 labels of shape `(...)` and `False`, or the
        targets of shape `(..., K)` and `True`.

    Raises:
        ValueError: where rank or last axis fits neither format.
    """
    k = num_classes(y_pred)
    shape = getattr(y_true, "shape", None)
    if shape is None or getattr(shape, "rank", 0) is None:
        raise ValueError(
            "`y_true` must have a static rank to tell integer labels from one-hot "
            f"ones. Received: {y_true}"
        )
    rank, expected = len(shape), len(y_pred.shape)
    if rank == expected and shape[-1] == k:
        return y_true, True
    if rank == expected and shape[-1] == 1:
        y_true, rank = ops.squeeze(y_true, -1), rank - 1
    fits = all(
        a is None or b is None or a == b
        for a, b in zip(y_true.shape, y_pred.shape, strict=False)
    )
    if rank != expected - 1 or not fits:
        raise ValueError(
            "`y_true` must be integer labels of shape (...) or (..., 1), or targets "
            f"of shape (..., {k}), beside `y_pred` of shape (..., {k}). "
            f"Received: y_true.shape={tuple(shape)}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    return ops.cast(y_true, "int32"), False


def is_valid(labels: Any, ignore_class: int) -> Any:
    """Marks with True the integer labels that are not `ignore_class`."""
    return ops.not_equal(labels, ops.cast(ignore_class, labels.dtype))
