"""How far a loss can pull a logit, and how far it does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.losses.gamma import GammaCE

# |p - target|, their gradient in a logit, is at most 1.
_CROSS_ENTROPIES = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.categorical_crossentropy,
    keras.losses.sparse_categorical_crossentropy,
)


def is_one_of(loss: Any, group: tuple) -> bool:
    """Returns whether the loss is a function of the group, or of one of its classes."""
    return any(
        loss is x or (isinstance(x, type) and isinstance(loss, x)) for x in group
    )


def gradient_bound(loss: Any, num_classes: int) -> float | None:
    """Returns the most that |dl/dz_j| of a sample can be, if it is known."""
    if is_one_of(loss, _CROSS_ENTROPIES):
        return 1.0
    if not isinstance(loss, GammaCE):
        return None
    # w (1 - p), with w = p / (gamma + (1 - gamma) p), is largest where p / (1 - p)
    # is sqrt(gamma); below the knee it is floor (1 - p).
    bound = max(loss.floor, 1 / (1 + math.sqrt(float(loss.gamma))) ** 2)
    # The smooth term's gradient is e (p_j - 1/K).
    e = loss.label_smoothing
    return (1 - e) * bound + e * (1 - 1 / num_classes)


def logit_gradient(
    loss: Any, y_true: Any, y_pred: Any, from_logits: bool
) -> np.ndarray | None:
    """Returns the gradient of each sample's loss in its logits, taken eagerly."""
    call = loss.call if isinstance(loss, keras.losses.Loss) else loss
    y_pred = ops.cast(y_pred, "float32")
    if not from_logits:
        y_pred = ops.log(ops.maximum(y_pred, float(np.finfo("float32").tiny)))
    y_true = ops.convert_to_tensor(y_true, "float32")

    def total(z: Any) -> Any:
        return ops.sum(call(y_true, z if from_logits else ops.softmax(z)))

    gradient = _gradient(total, y_pred)
    return None if gradient is None else ops.convert_to_numpy(gradient)


def _gradient(function: Callable[[Any], Any], x: Any) -> Any:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x)
    if backend == "jax":
        import jax

        return jax.grad(function)(x)
    if backend == "torch":
        import torch

        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(function(x), x)[0]
    return None
