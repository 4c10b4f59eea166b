"""EXACT by quadrature compared with the paper's 16 random points: error and time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from scipy.special import erfc

from benchmarks.losses import tensorflow_step
from benchmarks.timing import Row, interleaved, ratios
from keras_calib.losses import ExpectedAccuracyLoss

BACKENDS = ("tensorflow",)

BATCH = 64
POINTS = 16
# Number of classes -> number of rounds, and of repetitions of the random estimate.
SIZES = {10: (60, 20), 100: (20, 5)}


def rows() -> Iterator[Row]:
    """Yields the ratio of value and gradient to Monte Carlo's, and both errors."""
    for k, (rounds, repetitions) in SIZES.items():
        rng = np.random.default_rng(k)
        z = rng.normal(0, rng.uniform(0.3, 4.0, (BATCH, 1)), (BATCH, k))
        y = rng.integers(0, k, BATCH)
        truth = _trapezoid(z, y)
        z = keras.ops.convert_to_tensor(z, "float32")
        y = keras.ops.convert_to_tensor(y, "int32")
        loss = ExpectedAccuracyLoss(
            nodes=POINTS, reduction=None, from_logits=True, dtype="float32"
        )
        steps = {
            "peer": tensorflow_step(lambda y, z: 1.0 - genz(y, z)),
            "ours": tensorflow_step(loss),
        }
        calls = {name: _call(step, y, z) for name, step in steps.items()}
        ratio = ratios(interleaved(calls, rounds), "peer")["ours"]
        ours = np.abs(1 - calls["ours"]() - truth).max()
        random = np.array([1 - calls["peer"]() - truth for _ in range(repetitions)])
        note = (
            f"max error of P {ours:.1e} against {np.abs(random).max():.1e} "
            f"(root mean square {np.sqrt((random**2).mean()):.1e})"
        )
        name = f"EXACT ({BATCH}, {k}) graph / {POINTS}-point Monte Carlo"
        yield Row(name, ratio, None, note)


def genz(y: Any, z: Any) -> Any:
    """P(argmax = y) as an orthant of N(delta, I + 1 1^T), by Genz's transformation.

    This follows the paper's code, except that it does not reorder the classes and uses
    automatic differentiation. (Genz, "Numerical Computation of Multivariate Normal
    Probabilities", Journal of Computational and Graphical Statistics 1992.)
    """
    import tensorflow as tf

    batch, k = z.shape
    others = tf.ones([batch, k], tf.bool) & ~tf.one_hot(y, k, True, False, dtype="bool")
    delta = tf.gather(z, y, axis=1, batch_dims=1)[:, None] - tf.reshape(
        tf.boolean_mask(z, others), [batch, k - 1]
    )
    cholesky = np.linalg.cholesky(np.eye(k - 1) + 1).astype("float32")
    uniform = tf.random.uniform([k - 1, batch, POINTS])
    normals: list[Any] = []
    probability = tf.ones([batch, POINTS])
    for i in range(k - 1):
        bound = delta[:, i, None]
        if normals:
            done = tf.tensordot(cholesky[i, :i], tf.stack(normals), 1)
            bound = bound - done
        inside = tf.math.erfc(-bound / (cholesky[i, i] * 2**0.5)) / 2
        probability *= inside
        drawn = tf.clip_by_value(uniform[i] * inside, 1e-7, 1 - 1e-7)
        normals.append(tf.math.ndtri(drawn))
    return tf.reduce_mean(probability, axis=-1)


def _trapezoid(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """P in float64, from 1201 points of its integral over one variable."""
    e = np.linspace(-12, 28, 1201)
    step, truth = e[1] - e[0], []
    for row, label in zip(z, y, strict=True):
        delta = (row[label] - np.delete(row, label))[:, None] + e
        phi = erfc(-delta / 2**0.5) / 2
        density = np.exp(-0.5 * e**2) / np.sqrt(2 * np.pi)
        truth.append(step * np.sum(density * phi.prod(0)))
    return np.array(truth)


def _call(step, y, z):
    def call():
        value, gradient = step(y, z)
        gradient.numpy()
        return value.numpy()

    return call
