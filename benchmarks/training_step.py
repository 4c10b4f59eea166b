"""One training step compared with Keras's own, and with gamma moving at each step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np

import keras_calib
from benchmarks.timing import Row, interleaved, on_accelerator, ratios
from keras_calib.callbacks import GammaScheduler

BACKENDS = ("tensorflow", "jax")


def rows() -> Iterator[Row]:
    """Yields the steps of a small MLP and CNN, graph and XLA, then those of `fit`."""
    for name, build, batch in (("MLP", mlp, 256), ("CNN", _cnn, 128)):
        for mode, jit_compile in _MODES.items():
            row = f"step of a small {name}, GammaCE + ECE + Brier, {mode}"
            for way, ratio in _measure(build, batch, jit_compile).items():
                note = "peer: cross-entropy + accuracy"
                yield Row(f"{way} {row}", ratio, 1.05, note)
            yield Row(
                f"validation step of a small {name}, RefinementLoss + NLL, {mode}",
                _validation(build, batch, jit_compile),
                None,
                "peer: NLL",
            )

    for name, build, data in (
        ("MLP", lambda: mlp(512), images(128 * _STEPS)),
        ("transformer", _transformer, _text()),
    ):
        found, milliseconds = _annealing(build, *data)
        for way, ratio in found.items():
            yield Row(
                f"gamma by a {way}, {name}, fit, steps of {milliseconds:.1f} ms",
                ratio,
                1.01 if way == "schedule" else None,
                "peer: gamma constant",
            )


# On JAX a step without XLA runs each operation by itself.
_MODES = {"XLA": True}
if keras.backend.backend() == "tensorflow":
    _MODES = {"graph": False, "XLA": True}

# Of an accelerator and of a CPU: the steps of an epoch; and the vocabulary, length,
# width and depth of the transformer, which has 26 million parameters or .2 million.
_STEPS = 100 if on_accelerator() else 16
_SIZES = (8192, 256, 512, 4) if on_accelerator() else (1000, 32, 64, 2)


def _annealing(build, x, y) -> tuple[dict[str, float], float]:
    """Returns the ratios to a fit with constant gamma, and a step's time in ms."""
    decay = keras.optimizers.schedules.PolynomialDecay(0.0, 10_000, 0.1)
    function = GammaScheduler(lambda step: 1e-5 * step, unit="step")

    def fit(gamma, *callbacks):
        model = build()
        loss = keras_calib.GammaCE(gamma, from_logits=True)
        model.compile("adam", loss, metrics=[loss.gamma])
        batch = len(x) // _STEPS
        return lambda: model.fit(
            x, y, batch_size=batch, verbose=0, callbacks=list(callbacks)
        )

    def measured():
        ways = {
            "constant": fit(0.1),
            "schedule": fit(decay),
            "Python function": fit(0.1, function),
        }
        times = interleaved(ways, rounds=20)
        step = 1000 * float(np.median(times["constant"])) / _STEPS
        return [*ratios(times, "constant").values(), step]

    # The median of new models: placement in a CPU's memory changes times by up to 10 %.
    models = 1 if on_accelerator() else 5
    _, *found, step = np.median([measured() for _ in range(models)], axis=0)
    return dict(zip(("schedule", "Python function"), found, strict=True)), step


def _text() -> tuple[np.ndarray, np.ndarray]:
    """Returns random tokens, and the next one of each."""
    vocabulary, length, *_ = _SIZES
    x = np.random.default_rng(0).integers(0, vocabulary, (16 * _STEPS, length))
    return x, np.roll(x, -1, axis=1)


def _transformer() -> keras.Model:
    """Returns a language model."""
    vocabulary, length, width, depth = _SIZES
    inputs = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(vocabulary, width)(inputs)
    for _ in range(depth):
        attention = keras.layers.MultiHeadAttention(8, width // 8)
        x = keras.layers.LayerNormalization()(x + attention(x, x, use_causal_mask=True))
        hidden = keras.layers.Dense(4 * width, activation="gelu")(x)
        x = keras.layers.LayerNormalization()(x + keras.layers.Dense(width)(hidden))
    return keras.Model(inputs, keras.layers.Dense(vocabulary)(x))


def _measure(build, batch, jit_compile) -> dict[str, float]:
    """Returns the ratios of a step by itself, which fetches each log, and in `fit`."""
    models = {
        "ours": compiled_ours(build(), jit_compile=jit_compile),
        "stock": compiled_stock(build(), jit_compile=jit_compile),
    }
    x, y = images(batch * _STEPS)
    found = {}
    for way, rounds in (("train", 60), ("fit:", 20)):

        def call(model: keras.Model, way: str = way) -> object:
            if way == "train":
                return model.train_on_batch(x[:batch], y[:batch])
            return model.fit(x, y, batch_size=batch, shuffle=False, verbose=0)

        calls = {name: partial(call, model) for name, model in models.items()}
        found[way] = ratios(interleaved(calls, rounds), "stock")["ours"]
    return found


def _validation(build, batch, jit_compile) -> float:
    def step(*metrics):
        made = [metric(from_logits=True) for metric in metrics]
        model = compiled_stock(build(), *made, jit_compile=jit_compile)
        return lambda: model.test_on_batch(x, y)

    x, y = images(batch)
    nll = keras_calib.NegativeLogLikelihood
    steps = {"ours": step(nll, keras_calib.RefinementLoss), "nll": step(nll)}
    return ratios(interleaved(steps, rounds=60), "nll")["ours"]


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
