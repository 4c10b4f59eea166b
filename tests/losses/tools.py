"""Calling a loss, and its gradient, on any backend."""

import numpy as np
from keras import ops

from tests.backends import BACKEND


def per_sample(loss, y_true, y_pred):
    """Returns the values before Keras reduces them, as float64 numpy."""
    value = loss.call(
        ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred, loss.dtype)
    )
    return ops.convert_to_numpy(value).astype("float64")


def value_and_gradient(loss, y_true, y_pred, dtype):
    """Returns the loss and its gradient in the predictions, as float64 numpy."""
    y_true = ops.convert_to_tensor(y_true)
    y_pred = ops.convert_to_tensor(np.asarray(y_pred), dtype)
    pair = GRADIENT(loss, y_true, y_pred)
    return tuple(ops.convert_to_numpy(x).astype("float64") for x in pair)


def _tensorflow(loss, y_true, y_pred):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    return value, tape.gradient(value, y_pred)


def _jax(loss, y_true, y_pred):
    import jax

    def total(z):
        value = loss(y_true, z)
        return value.sum(), value

    (_, value), gradient = jax.value_and_grad(total, has_aux=True)(y_pred)
    return value, gradient


def _torch(loss, y_true, y_pred):
    y_pred = y_pred.detach().requires_grad_()
    value = loss(y_true, y_pred)
    value.sum().backward()
    return value.detach(), y_pred.grad


def second_derivatives(loss, y_true, y_pred):
    """Returns the derivative of each entry of the gradient, as float64 numpy."""
    y_true = ops.convert_to_tensor(y_true)
    y_pred = ops.convert_to_tensor(np.asarray(y_pred), "float64")
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as outer:
            outer.watch(y_pred)
            _, gradient = _tensorflow(loss, y_true, y_pred)
        second = outer.jacobian(gradient, y_pred, experimental_use_pfor=False)
    elif BACKEND == "jax":
        import jax

        second = jax.jacrev(lambda z: _jax(loss, y_true, z)[1])(y_pred)
    else:
        from torch.autograd.functional import hessian

        second = hessian(lambda z: loss(y_true, z).sum(), y_pred)
    return ops.convert_to_numpy(second)


# The loss and its gradient, as tensors: what a compiler can be given.
GRADIENT = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[BACKEND]
