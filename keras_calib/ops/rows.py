"""One entry of each row: its indices, its value."""

from __future__ import annotations

import keras
from keras import ops

from keras_calib.types import Tensor


def row_indices(index: Tensor) -> Tensor:
    """Returns the (N, 2) indices of entry index_n of each row n."""
    index = ops.cast(index, "int32")
    rows = ops.arange(ops.shape(index)[0], dtype="int32")
    return ops.stack([rows, index], axis=-1)


def pick(x: Tensor, index: Tensor) -> Tensor:
    """Returns x[n, index_n] for each row n."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # One op, where take_along_axis takes seven.
        return tf.gather(x, index, batch_dims=1)
    return ops.squeeze(ops.take_along_axis(x, ops.expand_dims(index, -1), -1), -1)
