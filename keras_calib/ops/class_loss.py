"""Losses of one label of K classes that are no function of p_y alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_calib.ops.floats import at_least_float32
from keras_calib.ops.labels import class_labels, is_valid


def class_loss(
    y_true: Any,
    y_pred: Any,
    loss: Callable[[Any, Any], Any],
    *,
    ignore_class: int | None = None,
) -> Any:
    """Computes loss(label, scores) for each sample, whatever the label's format.

    Soft targets t give sum_i t_i loss(i, scores), K losses a sample.

    Args:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of shape
            `(..., K)`.
        y_pred: scores of shape `(..., K)`.
        loss: function of int32 labels (N,) and scores (N, K) that gives (N,).
        ignore_class: integer label whose samples give 0.

    Returns:
        Losses of shape `(...)`, float64 for float64 scores, else float32.

    Raises:
        ValueError: for shapes that do not fit, and for `ignore_class` with soft
            targets.
    """
    y_pred = at_least_float32(y_pred)
    y_true = ops.convert_to_tensor(y_true)
    labels, soft = class_labels(y_true, y_pred)
    batch_shape = ops.shape(y_pred)[:-1]
    k = y_pred.shape[-1]
    z = ops.reshape(y_pred, (-1, k))
    if not soft:
        valid = True if ignore_class is None else is_valid(labels, ignore_class)
        labels = ops.reshape(ops.where(valid, labels, 0), (-1,))
        losses = ops.reshape(loss(labels, z), batch_shape)
        return losses if ignore_class is None else ops.where(valid, losses, 0.0)
    if ignore_class is not None:
        raise ValueError(
            "`ignore_class` needs integer labels. Received: "
            f"ignore_class={ignore_class}, y_true.shape={tuple(y_true.shape)}"
        )
    every = ops.tile(ops.arange(k, dtype="int32"), (ops.shape(z)[0],))
    losses = ops.reshape(loss(every, ops.repeat(z, k, axis=0)), (*batch_shape, k))
    return ops.sum(ops.cast(labels, z.dtype) * losses, axis=-1)
