"""Held-out data as a callback meets it: arrays, batches, or a metric's state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from keras_calib.metrics import (
    BinaryECE,
    ExpectedCalibrationError,
    MaximumCalibrationError,
)

_BINNED = ExpectedCalibrationError, MaximumCalibrationError, BinaryECE


def readable_again(data: Any) -> Any:
    """Returns the data, or says that an iterator would be empty after one epoch."""
    if isinstance(data, Iterator):
        raise ValueError(
            "`data` is read after every epoch: give (x, y), a list of batches, a "
            f"tf.data.Dataset or a PyDataset, no iterator. Received: {data!r}"
        )
    return data


def batches(data: Any, batch_size: int) -> Iterator[tuple]:
    """Yields `(x, y)` or `(x, y, sample_weight)`.

    Args:
        data: a tuple of arrays, which is cut, or an iterable of batches.
        batch_size: samples a batch of a tuple.
    """
    if not isinstance(data, tuple):
        yield from (
            (data[i] for i in range(len(data)))
            if isinstance(data, keras.utils.PyDataset)
            else data
        )
        return
    count = len(keras.tree.flatten(data)[0])
    for start in range(0, count, batch_size):
        chunk = slice(start, start + batch_size)
        yield keras.tree.map_structure(lambda x: x[chunk], data)  # noqa: B023


def binned_metric(model: keras.Model) -> Any:
    """Returns the first metric of the model that has bins, or `None`."""
    groups = list(model.metrics)
    while groups:
        metric = groups.pop(0)
        if isinstance(metric, _BINNED):
            return metric
        groups += list(getattr(metric, "metrics", None) or [])
    return None
