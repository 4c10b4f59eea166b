"""Softmax and sigmoid of numpy arrays, in float64."""

import numpy as np

from keras_calib.types import Array


def softmax(z: Array, axis: int = -1) -> Array:
    """Returns the softmax over an axis."""
    e = np.exp(np.subtract(z, z.max(axis, keepdims=True), dtype="float64"))
    p: Array = e / e.sum(axis, keepdims=True)
    return p


def log_softmax(z: Array, axis: int = -1) -> Array:
    """Returns log(softmax(z)) over an axis."""
    z = np.subtract(z, z.max(axis, keepdims=True), dtype="float64")
    log_p: Array = z - np.log(np.exp(z).sum(axis, keepdims=True))
    return log_p


def sigmoid(z: Array) -> Array:
    """Returns 1 / (1 + exp(-z)), without overflow."""
    e = np.exp(-np.abs(z), dtype="float64")
    p: Array = np.where(z < 0, e, 1.0) / (1.0 + e)
    return p
