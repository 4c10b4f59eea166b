"""Work of the package and of its peers, which JAX compiles for a TPU.

compiler.py imports it beside libtpu; TensorFlow stays out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import keras
from jax import ShapeDtypeStruct

from keras_calib import CalibrationMetrics, ExpectedCalibrationError, GammaCE
from tests.metrics.reference import TABLE

# A function and the shapes of its arguments.
Program = tuple[Callable, list]

TOKENS, IMAGES, PIXELS = (8192, 128256), (8192, 1000), (4_000_000, 21)


def gradient(loss: keras.losses.Loss, dtype: str) -> Program:
    """Returns the value of a loss and its gradient in logits of a vocabulary."""
    y, z = batch(TOKENS, dtype)
    return jax.value_and_grad(lambda z, y: loss(y, z)), [z, y]


def update(metric: keras.metrics.Metric, size: tuple[int, int]) -> Program:
    """Returns an update by logits."""
    y, z = batch(size)
    metric.update_state(jnp.zeros(2, y.dtype), jnp.zeros((2, size[1])))  # its variables
    state = [ShapeDtypeStruct(v.shape, v.dtype) for v in metric.variables]
    return metric.stateless_update_state, [state, y, z]


def top(size: tuple[int, int]) -> Program:
    """Returns the largest logits and their classes, the least that a metric reads."""
    return lambda z: (jnp.max(z, axis=-1), jnp.argmax(z, axis=-1)), batch(size)[1:]


def batch(size: tuple[int, int], dtype: str = "float32") -> list[ShapeDtypeStruct]:
    return [ShapeDtypeStruct(size[:1], "int32"), ShapeDtypeStruct(size, dtype)]


# What creates our program, what creates the peer's, and the limit of the ratio of the
# bytes that they move, if there is one.
Row = tuple[Callable[[], Program], Callable[[], Program], float | None]


def loss_row(dtype: str) -> Row:
    ours = GammaCE(0.1, from_logits=True)
    peer = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return partial(gradient, ours, dtype), partial(gradient, peer, dtype), 1.0


TOPS = {size: partial(top, size) for size in (IMAGES, PIXELS)}


def metric_row(make: Callable, size: tuple[int, int], limit: float | None) -> Row:
    return lambda: update(make(), size), TOPS[size], limit


ECE = partial(ExpectedCalibrationError, from_logits=True)
FIVE = partial(CalibrationMetrics, from_logits=True)
# Of the metrics that update the same sums, one is enough.
THE_SAME_AS_ECE = {
    "ExpectedCalibrationError",
    "MaximumCalibrationError",
    "CalibrationGap",
}
THE_SAME_AS_KS = {"AURC", "AccuracyAtCoverage"}
OTHERS = {
    name: partial(row.make, from_logits=True)
    for row in TABLE.values()
    if row.kind == "classes"
    and (name := type(row.make()).__name__) not in THE_SAME_AS_ECE | THE_SAME_AS_KS
}

ROWS: dict[str, Row] = {
    "GammaCE, float32 / cross-entropy": loss_row("float32"),
    "GammaCE, bfloat16 / cross-entropy": loss_row("bfloat16"),
    "ExpectedCalibrationError / max + argmax": metric_row(ECE, IMAGES, 1.0),
    "CalibrationMetrics / max + argmax": metric_row(FIVE, IMAGES, 1.0),
    # Most of what they count stays on the chip.
    "ExpectedCalibrationError / those of pixels": metric_row(ECE, PIXELS, 3.0),
    "CalibrationMetrics / those of pixels": metric_row(FIVE, PIXELS, 3.5),
    "Keras's accuracy / max + argmax": metric_row(
        keras.metrics.SparseCategoricalAccuracy, IMAGES, None
    ),
    **{
        f"{name} / max + argmax": metric_row(make, IMAGES, None)
        for name, make in OTHERS.items()
    },
}
