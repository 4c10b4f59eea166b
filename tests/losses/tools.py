"""Calling a loss."""

import tensorflow as tf


def per_sample(loss, y_true, y_pred):
    """Returns the values before Keras reduces them, as float64 numpy."""
    dtype = loss.dtype
    value = loss.call(tf.convert_to_tensor(y_true), tf.constant(y_pred, dtype))
    return value.numpy().astype("float64")


def value_and_gradient(loss, y_true, y_pred, dtype):
    """Returns the loss and its gradient in the predictions, as float64 numpy."""
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.constant(y_pred, dtype)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    gradient = tape.gradient(value, y_pred)
    return value.numpy().astype("float64"), gradient.numpy().astype("float64")
