"""Calling a loss, and its gradient, on any backend."""

import numpy as np
import pytest
from keras import ops

from tests.backends import BACKEND, slow_on_jax


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


def with_little_of_exact(rows):
    """Returns rows of parameters, of which JAX takes EXACT's among the slow tests.

    It compiles each of the many operations of the quadrature for a third of a minute.

    Args:
        rows: names of losses, or tuples that begin with one.
    """
    named = [(row,) if isinstance(row, str) else row for row in rows]
    return [
        pytest.param(*row, marks=slow_on_jax if row[0].startswith("exact") else ())
        for row in named
    ]


def second_derivatives(loss, y_true, y_pred):
    """Returns the derivatives of each sample's gradient in its own predictions.

    They are of shape (N, K, K), as float64 numpy. Samples must not depend on each
    other: the gradients of all are summed, which takes one pass for each class.
    """
    y_true = ops.convert_to_tensor(y_true)
    y_pred = ops.convert_to_tensor(np.asarray(y_pred), "float64")
    classes = range(y_pred.shape[-1])
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as outer:
            outer.watch(y_pred)
            _, gradient = _tensorflow(loss, y_true, y_pred)
            columns = tf.unstack(gradient, axis=-1)
        # A gradient may be constant.
        zero = tf.UnconnectedGradients.ZERO
        rows = [outer.gradient(x, y_pred, None, zero) for x in columns]
    elif BACKEND == "jax":
        import jax

        rows = jax.jit(jax.jacrev(lambda z: _jax(loss, y_true, z)[1].sum(0)))(y_pred)
    else:
        import torch

        z = y_pred.detach().requires_grad_()
        value = loss(y_true, z).sum()
        (gradient,) = torch.autograd.grad(value, z, create_graph=True)
        again = {"retain_graph": True, "materialize_grads": True}
        columns = gradient.sum(0)
        if not columns.requires_grad:  # a gradient may be constant
            return np.zeros((*z.shape, z.shape[-1]))
        rows = [torch.autograd.grad(columns[k], z, **again)[0] for k in classes]
    rows = [ops.convert_to_numpy(rows[k]) for k in classes]
    return np.stack(rows, axis=1).astype("float64")


# The loss and its gradient, as tensors: what a compiler can be given.
GRADIENT = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[BACKEND]
