"""Losses of one label of K classes that depend on all scores."""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from keras_calib.ops.class_batch import ClassBatch
from keras_calib.types import Tensor

__all__ = ["class_loss"]


def class_loss(
    y_true: Tensor,
    y_pred: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    ignore_class: int | None = None,
) -> Tensor:
    """Computes loss(label, scores) for each sample, whatever the label's format.

    Soft targets t give sum_i t_i loss(i, scores), from K losses per sample.

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
    y_pred = ops.convert_to_tensor(y_pred)
    batch = ClassBatch(y_true, y_pred, ignore_class=ignore_class)
    return batch.in_shape(batch.expected_loss(loss))
