"""The gradient of a loss with respect to the logits, and its bound."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.losses.gamma import GammaCE
from keras_calib.ops.reader import function_of
from keras_calib.types import Tensor

# Their gradient with respect to a logit, p - target, is at most 1.
_CROSS_ENTROPIES = (
    keras.losses.categorical_crossentropy,
    keras.losses.sparse_categorical_crossentropy,
)


def gradient_bound(loss: Any, num_classes: int) -> float | None:
    """Returns the largest |dl/dz_j| that a sample can have, or `None` if unknown."""
    if function_of(loss) in _CROSS_ENTROPIES:
        return 1.0
    if not isinstance(loss, GammaCE):
        return None
    # w (1 - p), with w = p / (gamma + (1 - gamma) p), is largest at p / (1 - p) =
    # sqrt(gamma); where the floor is above w it is floor (1 - p).
    bound = max(loss.floor, 1 / (1 + math.sqrt(float(loss.gamma))) ** 2)
    # The smooth term's gradient is e (p_j - 1/K).
    e = loss.label_smoothing
    return (1 - e) * bound + e * (1 - 1 / num_classes)


def logit_gradient(
    loss: Any, y_true: Tensor, y_pred: Tensor, from_logits: bool, axis: int
) -> np.ndarray:
    """Returns the gradient of each sample's loss with respect to its logits."""
    call = getattr(loss, "call", loss)
    y_pred = ops.cast(y_pred, "float32")
    if not from_logits:
        y_pred = ops.log(ops.maximum(y_pred, float(np.finfo("float32").tiny)))
    y_true = ops.convert_to_tensor(y_true, "float32")

    def total(z: Tensor) -> Tensor:
        return ops.sum(call(y_true, z if from_logits else ops.softmax(z, axis)))

    return np.asarray(ops.convert_to_numpy(_gradient(total, y_pred)))


def _gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
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
    import torch

    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(function(x), x)[0]
