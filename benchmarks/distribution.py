"""A step on two replicas compared with Keras's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import keras
import numpy as np

from benchmarks.timing import Row, interleaved, ratios
from benchmarks.training_step import compiled_ours, compiled_stock, images, mlp

BACKENDS = ("tensorflow",)


def rows() -> Iterator[Row]:
    """Yields the steps on replicas, from a separate process."""
    # Logical devices must be created before anything runs.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.distribution"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    name = "train step on two replicas, GammaCE + ECE + Brier"
    yield Row(name, found["bare"], 1.05, "peer: cross-entropy + accuracy")
    yield Row(
        name, found["equal"], 1.05, "peer: cross-entropy + accuracy + top-5 accuracy"
    )


def _replicas() -> dict[str, float]:
    """Returns the ratio of our step to the stock loss with one and two metrics."""
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    batches = tf.data.Dataset.from_tensors(images(256)).repeat(10)

    # Keras distributes over replicas only in `fit`; ten steps hide its start-up time.
    def fit(model):
        return lambda: model.fit(batches, verbose=0)

    def measured():
        with strategy.scope():
            top_5 = keras.metrics.SparseTopKCategoricalAccuracy(5)
            models = {
                "ours": compiled_ours(mlp()),
                "bare": compiled_stock(mlp()),
                "equal": compiled_stock(mlp(), top_5),
            }
        times = interleaved({name: fit(m) for name, m in models.items()}, rounds=20)
        return [ratios(times, peer)["ours"] for peer in ("bare", "equal")]

    # The median of new models: their placement in memory changes times by up to 10 %.
    medians = np.median([measured() for _ in range(5)], axis=0)
    return dict(zip(("bare", "equal"), medians.tolist(), strict=True))


if __name__ == "__main__":
    print(json.dumps(_replicas()))
