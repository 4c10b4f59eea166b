"""Programs that Keras would run on a TPU, lowered to HLO on a CPU.

__main__.py runs it in another process, because TensorFlow and libtpu may clash in one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from keras_calib import (
    BrierScore,
    ExpectedCalibrationError,
    FusedHeadModel,
    GammaCE,
)
from tests.losses.table import ALL, BINARY
from tests.metrics.reference import TABLE, Row

# A function and its example inputs.
Program = tuple[Callable, list]

TOKENS, VOCABULARY, LARGE = 512, 32000, 128256
CLASSES = 5  # of the tables
ALONE = [row for row in TABLE.values() if row.slow_to_compile]
OTHERS = [row for row in TABLE.values() if not row.slow_to_compile]


# Training steps ----------------------------------------------------------------------


def convolutional() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Returns a small net for 256 images of 32 x 32, with their labels."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for filters in (64, 128):
        model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dropout(0.2))
    model.add(layers.Dense(100))
    return model, np.zeros((256, 32, 32, 3), "float32"), np.zeros(256, "int32")


def transformer(
    batch: int = 16, vocabulary: int = VOCABULARY
) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Returns a language model of one block on sequences of 512, with labels."""
    layers, width = keras.layers, 256
    tokens = keras.Input((TOKENS,), dtype="int32")
    x = layers.Embedding(vocabulary, width)(tokens)
    y = layers.LayerNormalization()(x)
    y = layers.MultiHeadAttention(8, width // 8)(y, y, use_causal_mask=True)
    x = layers.Add()([x, layers.Dropout(0.1)(y)])
    y = layers.LayerNormalization()(x)
    y = layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(y))
    x = layers.Add()([x, layers.Dropout(0.1)(y)])
    logits = layers.Dense(vocabulary)(layers.LayerNormalization()(x))
    labels = np.zeros((batch, TOKENS), "int32")
    return keras.Model(tokens, logits), labels, labels


def fused(vocabulary: int) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Returns the same model, which never makes all of its logits."""
    model, x, y = transformer(vocabulary=vocabulary)
    return FusedHeadModel(model), x, y


def step(make: Callable, kind: str, optimizer: str = "adamw") -> Program:
    """Returns a Keras step in mixed_bfloat16, with gamma as one of its inputs."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, x, y = make()
    finally:
        keras.config.set_dtype_policy("float32")
    loss = GammaCE(0.0, from_logits=True)
    metrics = [ExpectedCalibrationError(from_logits=True), BrierScore(from_logits=True)]
    # One eager step creates the variables; the lowered step is the same.
    model.compile(optimizer, loss, metrics=[*metrics, loss.gamma], run_eagerly=True)
    model.train_on_batch(x[:2], y[:2])
    method = model.train_step if kind == "train" else model.test_step

    def function(x, y):
        return method((x, y))

    function.gamma = loss.gamma.variable
    return function, [x, y]


# The tables --------------------------------------------------------------------------


def every_loss() -> Program:
    """Returns the values and gradients of every loss in the table as one program."""
    z = np.zeros((64, CLASSES), "float32")
    losses = [row(from_logits=True) for row in ALL.values()]
    losses += [row(from_logits=False) for row in ALL.values() if not row.logits_only]
    binary = [row(from_logits=f) for row in BINARY.values() for f in (True, False)]

    def function(z, labels, targets, binary_labels):
        pairs = [(loss, y) for loss in losses for y in (labels, targets)]
        pairs += [(loss, binary_labels) for loss in binary]
        found = []
        for loss, y in pairs:
            y_pred = z
            if not loss.from_logits:
                y_pred = tf.nn.softmax(z) if loss in losses else tf.sigmoid(z)
                y_pred = tf.stop_gradient(y_pred)
            with tf.GradientTape() as tape:
                tape.watch(y_pred)
                value = loss(y, y_pred)
            found += [value, tape.gradient(value, y_pred)]
        return found

    return function, [z, np.zeros(64, "int32"), z, z]


def metrics(rows: Sequence[Row]) -> Program:
    """Returns updates and results of metrics as one program."""
    batches = {
        "classes": (np.zeros(64, "int32"), np.zeros((64, CLASSES), "float32")),
        "binary": (np.zeros((64, 1), "int32"), np.zeros((64, 1), "float32")),
        "labels": (np.zeros((64, 5), "int32"), np.zeros((64, 5), "float32")),
    }
    made = [(row.make(from_logits=True), row.kind) for row in rows]
    for metric, kind in made:  # some create their variables at the first batch
        metric.update_state(*batches[kind])

    def function(weight, *arrays):
        pairs = zip(arrays[::2], arrays[1::2], strict=True)
        given = dict(zip(batches, pairs, strict=True))
        found = []
        for metric, kind in made:
            metric.update_state(*given[kind], weight)
            found.append(metric.result())
        return found

    return function, [np.zeros(64, "float32"), *sum(batches.values(), ())]


# What a TPU cannot run ---------------------------------------------------------------


def too_large() -> Program:
    """Returns a step with logits of 67 GB in bfloat16, for 16 or 32 GB of memory."""
    return step(lambda: transformer(128 * 16), "train", "sgd")


def python_in_the_step() -> Program:
    """Returns what a metric that calls numpy would run."""

    def function(x):
        return tf.py_function(lambda x: x.numpy(), [x], tf.float32)

    return function, [np.zeros(8, "float32")]


def histogram() -> Program:
    """Returns a histogram by TensorFlow, which has no XLA kernel for it."""

    def function(x):
        return tf.histogram_fixed_width(x, [0.0, 1.0], 15)

    return function, [np.zeros(8, "float32")]


# While these are visible, the forms of the kernels are those of a TPU.
ONLY_A_TPU = mock.patch.object(
    tf.config,
    "list_logical_devices",
    return_value=[tf.config.LogicalDevice("/device:TPU:0", "TPU")],
)

FUSED, FUSED_LARGE = (f"train step, fused head of {k}" for k in (VOCABULARY, LARGE))

# name -> a function that creates the program, and the error expected from it, if any.
PROGRAMS: dict[str, tuple[Callable[[], Program], str | None]] = {
    "convolutional net, train step": (lambda: step(convolutional, "train"), None),
    "convolutional net, test step": (lambda: step(convolutional, "test"), None),
    "transformer, train step": (lambda: step(transformer, "train"), None),
    "transformer, test step": (lambda: step(transformer, "test"), None),
    FUSED: (lambda: step(partial(fused, VOCABULARY), "train"), None),
    FUSED_LARGE: (lambda: step(partial(fused, LARGE), "train"), None),
    "every loss, with its gradient": (every_loss, None),
    **{
        f"{type(row.make()).__name__}, with its result": (partial(metrics, [row]), None)
        for row in ALONE
    },
    "every other metric, with its result": (partial(metrics, OTHERS), None),
    "step too large for the memory": (too_large, "Ran out of memory on HBM"),
    "step with Python in it": (python_in_the_step, "EagerPyFunc"),
    "histogram_fixed_width": (histogram, "HistogramFixedWidth"),
}

# The megabytes of temporaries that a program may take. With all of its logits, the step
# takes 765 for the smaller vocabulary, and 2321 for the larger.
LIMITS = {FUSED: 500.0, FUSED_LARGE: 650.0}
# What is compiled for one kind of TPU alone, because it takes a minute.
ONLY_FOR = {FUSED: "v5e:2x2", FUSED_LARGE: "v6e:2x2"}


def lower(make: Callable[[], Program]) -> bytes:
    """Returns the program as serialized HLO."""
    function, arguments = make()
    traced = tf.function(function, jit_compile=True, autograph=False)
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in arguments]
    with ONLY_A_TPU:
        captured = traced.get_concrete_function(*specs).captured_inputs
    gamma = getattr(function, "gamma", None)
    if gamma is not None and not any(gamma.value.handle is c for c in captured):
        raise ValueError("gamma is a constant of the step")
    return traced.experimental_get_compiler_ir(*specs)(stage="hlo_serialized")


def main(folder: Path, names: list[str]) -> None:
    """Writes each program, or the error of TensorFlow, into the folder."""
    for name in names:
        make, _ = PROGRAMS[name]
        try:
            (folder / f"{name}.hlo").write_bytes(lower(make))
        except ValueError as error:
            (folder / f"{name}.error").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
