"""The held-out data of a callback: arrays, batches, or a metric's state."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import keras

from keras_calib import metrics
from keras_calib.callbacks.parts import metrics_of
from keras_calib.ops.arrays import require
from keras_calib.types import Tensor

BinnedMetric: TypeAlias = (
    metrics.ExpectedCalibrationError
    | metrics.MaximumCalibrationError
    | metrics.BinaryECE
)


def readable_again(data: Any) -> Any:
    """Returns the data, or raises if it cannot be read after every epoch."""
    kinds = Iterable | keras.utils.PyDataset | None
    require(
        len(data) in (2, 3) if isinstance(data, tuple) else isinstance(data, kinds),
        "`data` must be (x, y), (x, y, sample_weight) or batches of them",
        repr(data),
    )
    if isinstance(data, Iterator):
        raise ValueError(
            "`data` is read after every epoch: pass (x, y), a list of batches, a "
            f"tf.data.Dataset or a PyDataset, not an iterator. Received: {data!r}"
        )
    return data


def batches(data: Any, batch_size: int) -> Iterator[tuple[Tensor, ...]]:
    """Yields `(x, y)` or `(x, y, sample_weight)`.

    Args:
        data: a tuple of arrays, which is sliced, or an iterable of batches.
        batch_size: samples in a slice.
    """
    if isinstance(data, keras.utils.PyDataset):
        yield from (data[i] for i in range(len(data)))
    elif not isinstance(data, tuple):
        yield from data
    else:
        count = len(keras.tree.flatten(data)[0])
        for start in range(0, count, batch_size):
            chunk = slice(start, start + batch_size)
            yield keras.tree.map_structure(lambda x: x[chunk], data)  # noqa: B023


def binned_metric(metrics: Iterable[Any]) -> BinnedMetric | None:
    """Returns the first metric that has bins, if there is one."""
    return next((m for m in metrics_of(metrics) if isinstance(m, BinnedMetric)), None)
