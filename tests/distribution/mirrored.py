"""Fits a small model on N logical CPUs and prints what came out, as JSON.

Run by test_mirrored.py in a process of its own: logical devices are made once, and
a failed collective leaves a process unusable.
"""

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_calib import (
    BrierScore,
    CalibrationGap,
    ExpectedCalibrationError,
    GammaCE,
)
from keras_calib.callbacks import GammaScheduler, linear


def main(replicas: int, samples: int, made: str) -> None:
    """Prints history and weights after three epochs."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * max(replicas, 1)
    )
    scope = contextlib.nullcontext()
    if replicas > 1:
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
        scope = strategy.scope()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 8)).astype("float32")
    y = rng.integers(0, 5, samples)
    made_outside = objects() if made == "outside" else None
    with scope:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((8,)),
                keras.layers.Dense(16, activation="relu"),
                keras.layers.Dense(5),
            ]
        )
        loss, metrics = made_outside or objects()
        # A model that stands still shows the metrics alone, whatever the batches.
        rate = 0.0 if samples % 64 else 0.1
        model.compile(keras.optimizers.SGD(rate), loss, metrics=metrics)
    history = model.fit(
        x,
        y,
        batch_size=64,
        epochs=3,
        shuffle=False,
        verbose=0,
        validation_data=(x[:100], y[:100]),
        callbacks=[GammaScheduler(linear(0.0, 0.5), unit="step")],
    ).history
    weights = [w.tolist() for w in model.get_weights()]
    print(json.dumps({"history": history, "weights": weights}, default=float))


def objects():
    """Returns a loss and the metrics that watch it."""
    loss = GammaCE(0.0, from_logits=True)
    metrics = [
        ExpectedCalibrationError(from_logits=True),
        ExpectedCalibrationError(norm="max", from_logits=True, name="mce"),
        CalibrationGap(from_logits=True),
        BrierScore(from_logits=True),
        loss.gamma,
    ]
    return loss, metrics


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
