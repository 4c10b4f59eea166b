"""Value and gradient of each loss from logits, compared with Keras's cross-entropy.

The losses run on TensorFlow in graph mode and with XLA, and on JAX with XLA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np

from benchmarks.timing import Row, interleaved, ratios
from keras_calib import losses, ops

BACKENDS = ("tensorflow", "jax")

SIZES = {(256, 10): 1.05, (1024, 1000): 0.6, (2048, 32000): 0.6}
ROUNDS = {(256, 10): 400, (1024, 1000): 60, (2048, 32000): 20}

# The other losses, at (1024, 1000) only.
OTHERS: dict[str, Callable[[], keras.losses.Loss]] = {
    "GammaCE(0.5, floor=0.3)": lambda: losses.GammaCE(0.5, floor=0.3, from_logits=True),
    "LabelSmoothingCE(0.1)": lambda: losses.LabelSmoothingCE(0.1, from_logits=True),
    "FocalCE(2)": lambda: losses.FocalCE(2.0, from_logits=True),
    "GeneralizedCE(0.7)": lambda: losses.GeneralizedCE(0.7, from_logits=True),
    "CategoricalMeanAbsoluteError": lambda: losses.CategoricalMeanAbsoluteError(
        from_logits=True
    ),
    "PolyLoss(1)": lambda: losses.PolyLoss(1.0, from_logits=True),
    "PolyLoss([-1, -0.5])": lambda: losses.PolyLoss([-1.0, -0.5], from_logits=True),
    "GradientWeightedCE('gce')": lambda: losses.GradientWeightedCE(
        "gce", from_logits=True
    ),
    "AlphaBalancedCE(0.5)": lambda: losses.AlphaBalancedCE(0.5, from_logits=True),
    "AdditiveMarginSoftmax(0.35, 30)": lambda: losses.AdditiveMarginSoftmax(0.35, 30.0),
    "InfoNCE(0.1)": lambda: losses.InfoNCE(0.1),
    "ExpectedAccuracyLoss('gumbel')": lambda: losses.ExpectedAccuracyLoss(
        "gumbel", from_logits=True
    ),
    "ConfidencePenaltyCE(0.1)": lambda: losses.ConfidencePenaltyCE(
        0.1, from_logits=True
    ),
}


def _entropy(y, z):
    return keras.ops.mean(ops.entropy(z, from_logits=True))


# Those whose gradient is more work than a weight of p: its cost beside their value.
VALUES: dict[tuple[str, tuple[int, int]], Callable] = {
    ("entropy", (1024, 1000)): _entropy,
    ("ConfidencePenaltyCE(0.1)", (1024, 1000)): OTHERS["ConfidencePenaltyCE(0.1)"](),
    ("EXACT", (64, 10)): losses.ExpectedAccuracyLoss(from_logits=True),
    ("EXACT", (64, 100)): losses.ExpectedAccuracyLoss(from_logits=True),
}


def rows() -> Iterator[Row]:
    """Yields losses beside cross-entropy, and value and gradient beside the value."""
    for size, goal in SIZES.items():
        contenders = {"GammaCE(0.1)": lambda: losses.GammaCE(0.1, from_logits=True)}
        goals = {"GammaCE(0.1)": goal}
        if size == (1024, 1000):
            contenders |= OTHERS
            goals |= dict.fromkeys(OTHERS, 1.2)
        for mode, step in _steps().items():
            measured = _measure(contenders, size, step)
            for name, ratio in measured.items():
                yield Row(f"{name} {size} {mode}", ratio, goals[name])
    for (name, size), loss in VALUES.items():
        for mode, step in _steps().items():
            y, z = _batch(size)
            calls = {
                "value": _call(_value_alone(loss, mode == "XLA"), y, z),
                "both": _call(step(loss), y, z),
            }
            found = ratios(interleaved(calls, 60), "value")["both"]
            yield Row(f"{name} {size} {mode}", found, None, "peer: its value alone")


def _value_alone(loss: Callable, jit_compile: bool) -> Callable:
    def value(y, z):
        return loss(y, z), z

    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(value)
    import tensorflow as tf

    return tf.function(value, jit_compile=jit_compile)


def _batch(size: tuple[int, int]) -> tuple:
    rng = np.random.default_rng(0)
    z = rng.normal(size=size).astype("float32")
    y = rng.integers(0, size[1], size[0], "int32")
    return keras.ops.convert_to_tensor(y), keras.ops.convert_to_tensor(z)


def _measure(contenders, size, step) -> dict[str, float]:
    y, z = _batch(size)
    peer = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = {"peer": step(peer)}
    steps |= {name: step(make()) for name, make in contenders.items()}
    calls = {name: _call(step, y, z) for name, step in steps.items()}
    found = ratios(interleaved(calls, ROUNDS[size]), "peer")
    del found["peer"]
    return found


def _steps() -> dict[str, Callable]:
    """Returns a function that compiles a loss's step, for each mode of the backend."""
    if keras.backend.backend() == "jax":
        return {"XLA": _jax_step}
    return {
        "graph": tensorflow_step,
        "XLA": lambda loss: tensorflow_step(loss, jit_compile=True),
    }


def tensorflow_step(loss: Callable, jit_compile: bool = False) -> Callable:
    """Returns the compiled value and gradient of a loss with respect to the logits."""
    import tensorflow as tf

    @tf.function(jit_compile=jit_compile)
    def step(y, z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z)
        return value, tape.gradient(value, z)

    return step


def _jax_step(loss):
    import jax

    return jax.jit(jax.value_and_grad(lambda y, z: loss(y, z), argnums=1))


def _call(step, y, z):
    if keras.backend.backend() == "jax":
        import jax

        return lambda: jax.block_until_ready(step(y, z))
    return lambda: float(step(y, z)[0])  # waits for a GPU
