"""A served prediction of a calibrated model, compared with the uncalibrated one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import keras
import numpy as np

import keras_calib
from benchmarks.timing import Row, interleaved, ratios
from keras_calib.serving import export

BACKENDS = ("tensorflow",)

GOAL = 1.05


def rows() -> Iterator[Row]:
    """Yields the ratio for a convolutional network run by TensorFlow's C loader."""
    for batch in (1, 32):
        yield Row(
            f"served prediction of a temperature-scaled CNN, batch {batch}",
            _measure(batch),
            GOAL,
            "peer: the same CNN uncalibrated, C loader",
        )


def _measure(batch: int) -> float:
    from tests.serving.c_loader import SavedModel

    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 28, 28, 1)).astype("float32")
    bare = _cnn()
    y = bare.predict(x, verbose=0).argmax(-1)
    y[::3] = rng.integers(0, 10, len(y[::3]))
    calibrated = keras_calib.calibrate(bare, x, y, verbose=0)
    with tempfile.TemporaryDirectory() as base:
        paths = {
            "bare": export(bare, f"{base}/bare"),
            "calibrated": export(calibrated, f"{base}/calibrated"),
        }
        models = {name: SavedModel(path) for name, path in paths.items()}
        calls = {
            name: lambda model=model: model("serving_default", {"image": x[:batch]})
            for name, model in models.items()
        }
        times = interleaved(calls, rounds=1000, warm_up=50)
    return ratios(times, "bare")["calibrated"]


def _cnn() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
