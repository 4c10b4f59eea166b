"""Reads predictions, labels and weights as numpy arrays."""

from collections.abc import Iterable

import numpy as np

from keras_calib._keras import made_by
from keras_calib.ops.arrays import as_numbers
from keras_calib.ops.binary_batch import two_classes
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.labels import binary_labels, sample_weights
from keras_calib.types import Array, Tensor


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
    scores, labels = as_numbers("y_pred", scores), as_numbers("y_true", labels)
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
        # Not batch.labels: labels keep their dtype here.
        labels = labels.reshape(batch.labels.shape)
    factors = [as_numbers("sample_weight", w) for w in weights if w is not None]
    weight = sample_weights([*factors, valid], scores, "float64")
    return rows, labels, np.ones(len(rows)) if weight is None else weight


def logits_behind(p: Tensor) -> Tensor | None:
    """Returns the logits behind a Keras activation's probabilities, if Keras kept them.

    Raises:
        ValueError: if the activation is not a softmax over classes, or one sigmoid.
    """
    made, logits = made_by(p)
    needed = "sigmoid" if p.shape[-1] == 1 else "softmax"
    if made and needed not in made:
        raise ValueError(
            "Calibration needs a softmax over classes, or one sigmoid. Received: a "
            f"{made.pop()} of shape {tuple(p.shape)}"
        )
    return logits


def as_logits(
    x: Tensor, labels: Tensor, from_logits: bool, min_probability: float
) -> tuple[Array, Array]:
    """Returns logits of at least two classes, and labels that fit them.

    Args:
        x: logits or probabilities of shape `(..., K)`, or `(..., 1)` of class 1.
        labels: labels of any format; for a single output also probabilities.
        from_logits: whether `x` are logits.
        min_probability: the value that smaller probabilities are read as.

    Raises:
        ValueError: for predictions without an axis of classes.
    """
    x, labels = as_numbers("y_pred", x), as_numbers("y_true", labels)
    if x.ndim < 2 or not x.shape[-1]:
        raise ValueError(
            "`logits` must have shape (..., K), or (..., 1) of a single output: write "
            f"logits[:, None]. Received: shape {x.shape}"
        )
    x = x if from_logits else x.astype("float64")
    if x.shape[-1] == 1:
        labels, x = two_classes(labels, x, from_logits)
    if not from_logits:
        return np.log(np.maximum(x, min_probability)), labels
    if x.min() == -np.inf:  # a masked class, whose probability is 0
        x = np.where(x > -np.inf, x, x.max(-1, keepdims=True) + np.log(min_probability))
    return x, labels
