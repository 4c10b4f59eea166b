"""One entry of each row: its indices, its value."""

from __future__ import annotations

import keras
from keras import ops

from keras_calib.ops.floats import cast, namespace
from keras_calib.types import Tensor


def row_indices(index: Tensor) -> Tensor:
    """Returns the (N, 2) indices of entry index_n of each row n."""
    index = ops.cast(index, "int32")
    rows = ops.arange(ops.shape(index)[0], dtype="int32")
    return ops.stack([rows, index], axis=-1)


def row_max(x: Tensor) -> Tensor:
    """Returns the largest entry of each row, of shape (N, 1)."""
    return _over_rows("max", x)


def row_min(x: Tensor) -> Tensor:
    """Returns the smallest entry of each row, of shape (N, 1)."""
    return _over_rows("min", x)


def _over_rows(name: str, x: Tensor) -> Tensor:
    # Eagerly, `ops.max` and `ops.min` refuse an empty batch.
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return getattr(tf, f"reduce_{name}")(x, axis=-1, keepdims=True)
    return getattr(ops, f"a{name}")(x, axis=-1, keepdims=True)


def top_k(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Returns the k largest of each row and their indices; the first of equal ones."""
    if keras.backend.backend() != "torch":
        values, index = ops.top_k(x, k)
    elif k == 1:
        values, index = ops.convert_to_tensor(x).max(-1, keepdim=True)
    else:
        x = ops.convert_to_tensor(x)
        values, index = x.sort(dim=-1, descending=True, stable=True)
    return values[:, :k], index[:, :k]


def one_hot(index: Tensor, k: int, dtype: str) -> Tensor:
    """Returns rows of zeros with a 1 at each index, if it is in [0, K)."""
    xp = namespace(index)
    if xp is ops and keras.backend.backend() != "torch":  # torch's raises for K
        return ops.one_hot(index, k, dtype=dtype)
    return cast(index[:, None] == xp.arange(k, dtype="int32"), dtype)


def pick(x: Tensor, index: Tensor) -> Tensor:
    """Returns x[n, index_n] for each row n."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # One op, where take_along_axis takes seven.
        return tf.gather(x, index, batch_dims=1)
    return ops.squeeze(ops.take_along_axis(x, ops.expand_dims(index, -1), -1), -1)
