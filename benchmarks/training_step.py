"""One training step with our loss and metrics, compared with Keras's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

import keras_calib
from benchmarks.timing import Row, interleaved, ratios

BACKENDS = ("tensorflow", "jax")


def rows() -> Iterator[Row]:
    """Yields the ratios for a small MLP and CNN, in graph mode and with XLA."""
    for name, build, batch in (("MLP", mlp, 256), ("CNN", _cnn, 128)):
        for mode, jit_compile in (("graph", False), ("XLA", True)):
            yield Row(
                f"train step of a small {name}, GammaCE + ECE + Brier, {mode}",
                _measure(build, batch, jit_compile),
                1.05,
                "peer: cross-entropy + accuracy",
            )


def _measure(build, batch, jit_compile) -> float:
    ours = compiled_ours(build(), jit_compile=jit_compile)
    stock = compiled_stock(build(), jit_compile=jit_compile)
    x, y = images(batch)
    times = interleaved(
        {
            "ours": lambda: ours.train_on_batch(x, y),
            "stock": lambda: stock.train_on_batch(x, y),
        },
        rounds=60,
    )
    return ratios(times, "stock")["ours"]


def compiled_ours(model: keras.Model, **kwargs: Any) -> keras.Model:
    """Compiles a model with our loss and two of our metrics."""
    metrics = [
        keras_calib.ExpectedCalibrationError(from_logits=True),
        keras_calib.BrierScore(from_logits=True),
    ]
    loss = keras_calib.GammaCE(0.1, from_logits=True)
    model.compile("adam", loss, metrics=metrics, **kwargs)
    return model


def compiled_stock(model: keras.Model, *metrics: Any, **kwargs: Any) -> keras.Model:
    """Compiles a model with Keras's loss, accuracy and the given metrics."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy", *metrics], **kwargs)
    return model


def images(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns noise in the shape of small images, and labels from ten classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 28, 28, 1)).astype("float32")
    return x, rng.integers(0, 10, samples)


def mlp(width: int = 256) -> keras.Model:
    """Returns a network with two hidden layers."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(width, activation="relu"),
            keras.layers.Dense(width, activation="relu"),
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
