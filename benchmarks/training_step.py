"""One training step with our loss and metrics, against Keras's own."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

import keras_calib
from benchmarks.timing import Row, interleaved, ratios

BACKENDS = ("tensorflow", "jax")


def rows() -> Iterator[Row]:
    """Yields a small convolutional net and an MLP, in graph mode and under XLA."""
    for name, build, batch in (("MLP", _mlp, 256), ("CNN", _cnn, 128)):
        for mode, jit_compile in (("graph", False), ("XLA", True)):
            yield Row(
                f"train step of a small {name}, GammaCE + ECE + Brier, {mode}",
                _measure(build, batch, jit_compile),
                1.05,
                "peer: cross-entropy + accuracy",
            )


def _measure(build, batch, jit_compile) -> float:
    ours, stock = build(), build()
    ours.compile(
        "adam",
        keras_calib.GammaCE(0.1, from_logits=True),
        metrics=[
            keras_calib.ExpectedCalibrationError(from_logits=True),
            keras_calib.BrierScore(from_logits=True),
        ],
        jit_compile=jit_compile,
    )
    stock.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, 28, 28, 1)).astype("float32")
    y = rng.integers(0, 10, batch)
    times = interleaved(
        {
            "ours": lambda: ours.train_on_batch(x, y),
            "stock": lambda: stock.train_on_batch(x, y),
        },
        rounds=60,
    )
    return ratios(times, "stock")["ours"]


def _mlp() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def _cnn() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )
