"""A step on two replicas, and gamma annealed each step, against Keras's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import keras
import numpy as np

import keras_calib
from benchmarks.timing import Row, interleaved, ratios
from benchmarks.training_step import compiled_ours, compiled_stock, images, mlp
from keras_calib.callbacks import GammaScheduler, linear

BACKENDS = ("tensorflow",)


def rows() -> Iterator[Row]:
    """Yields the replicas' steps, from a process of its own, and the annealing."""
    # Logical devices are made before anything runs.
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
    ratio, milliseconds = _annealing()
    yield Row(
        f"gamma annealed each step, steps of {milliseconds:.0f} ms",
        ratio,
        1.02,
        "peer: gamma constant",
    )


def _replicas() -> dict[str, float]:
    """Returns our step's time to that of the stock loss with one and two metrics."""
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    batches = tf.data.Dataset.from_tensors(images(256)).repeat(10)

    # Keras spreads over replicas in `fit` alone; ten steps hide its start.
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

    # Models made anew: where their memory lies makes up to a tenth.
    medians = np.median([measured() for _ in range(5)], axis=0)
    return dict(zip(("bare", "equal"), medians.tolist(), strict=True))


def _annealing() -> tuple[float, float]:
    """Returns a fit's time to that with gamma constant, and a step's milliseconds."""
    x, y = images(2048)
    steps = len(x) // 128

    # One model for both: two of them differ by more, from where their memory lies.
    model = mlp(512)
    loss = keras_calib.GammaCE(0.1, from_logits=True)
    model.compile("adam", loss, metrics=[loss.gamma])

    def fit(*callbacks):
        return lambda: model.fit(
            x, y, batch_size=128, verbose=0, callbacks=list(callbacks)
        )

    annealed = fit(GammaScheduler(linear(0.0, 0.1), unit="step"))
    times = interleaved({"annealed": annealed, "constant": fit()}, rounds=100)
    step = float(np.median(times["constant"])) / steps
    return ratios(times, "constant")["annealed"], 1000 * step


if __name__ == "__main__":
    print(json.dumps(_replicas()))
