"""Batches of the data that Keras models take: arrays, datasets, generators."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.ops.arrays import as_numbers, require, require_whole
from keras_calib.types import Tensor

# Inputs, labels and weights: each a tensor, a structure of them, or None.
Batch = tuple[Any, Any, Any]


def batches_of(
    x: Any, y: Any, sample_weight: Any, batch_size: int
) -> tuple[Iterator[Batch], int | None]:
    """Returns batches (x, y, sample_weight), and their number where it is known.

    Raises:
        ValueError: for endless data, arrays without labels, different lengths, for
            what is no data, and for batches beside labels or weights of their own.
    """
    count: int | None
    if y is None and (isinstance(x, np.ndarray | dict) or ops.is_tensor(x)):
        raise ValueError("labels are missing: pass y with x")
    dataset = isinstance(x, keras.utils.PyDataset) or hasattr(x, "cardinality")
    require(
        sample_weight is None if y is None else not dataset,
        "labels and weights of batches come in them: (x, y) or (x, y, sample_weight)",
        f"{type(x).__name__} with {'sample_weight' if y is None else 'y'}",
    )
    if isinstance(x, keras.utils.PyDataset):
        if (count := x.num_batches) is None:
            raise ValueError("the data must end. Received: endless batches")
        return (_batch(x[i]) for i in range(count)), count
    if dataset:
        count = int(x.cardinality())
        if count == -1:
            raise ValueError(
                "the data must end. Received: an endless dataset. Use "
                "dataset.take(batches)"
            )
        return map(_batch, x), count if count >= 0 else None
    if y is None:
        require(
            isinstance(x, Iterable),
            "the data must be arrays with labels, a dataset, or batches (x, y)",
            repr(x),
        )
        return map(_batch, x), None
    arrays = _batch((x, y, sample_weight))
    shapes = [tuple(a.shape) for a in keras.tree.flatten(arrays) if a is not None]
    if () in shapes or len({n for n, *_ in shapes}) != 1:
        raise ValueError(
            "x, y and sample_weight must have the same length. Received: arrays of "
            f"shapes {shapes}"
        )
    starts = range(0, shapes[0][0], batch_size)

    def batch(start: int) -> Batch:
        rows = slice(start, start + batch_size)
        found: Batch = keras.tree.map_structure(
            lambda a: a if a is None else a[rows], arrays
        )
        return found

    return map(batch, starts), len(starts)


def _batch(data: Any) -> Batch:
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    # Lists of numbers or strings are arrays, other lists are of several inputs.
    scalars = not all(np.ndim(leaf) for leaf in keras.tree.flatten(x))
    inputs = _array(np.asarray(x)) if scalars else keras.tree.map_structure(_array, x)
    return inputs, _numbers("y", y), _numbers("sample_weight", weight)


def _array(x: Any) -> Tensor:
    """Returns tensors of this backend as they are, and other arrays as numpy's.

    Strings pass on TensorFlow, the only backend that has them.
    """
    if x is None or ops.is_tensor(x):
        return x
    require_whole("x", x)
    array = np.asarray(x)
    texts = array.dtype.kind in "SU" or (
        array.dtype == object and all(isinstance(v, str | bytes) for v in array.flat)
    )
    if texts and keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`x` holds strings, which only models on TensorFlow take: give the model "
            f"numbers. Received: {array.ravel()[:1]}"
        )
    return as_numbers("x", x) if array.dtype == object and not texts else array


def _numbers(name: str, x: Any) -> Tensor:
    return x if x is None or ops.is_tensor(x) else as_numbers(name, x)
