"""One entry of each row: its indices, its value."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def row_indices(index: Any) -> Any:
    """Returns the (N, 2) indices of entry index_n of each row n."""
    index = ops.cast(index, "int32")
    rows = ops.arange(ops.shape(index)[0], dtype="int32")
    return ops.stack([rows, index], axis=-1)


def pick(x: Any, index: Any) -> Any:
    """Returns x[n, index_n] for each row n."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # One op, where take_along_axis takes seven.
        return tf.gather(x, index, batch_dims=1)
    return ops.squeeze(ops.take_along_axis(x, ops.expand_dims(index, -1), -1), -1)
