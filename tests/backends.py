"""What a backend cannot be asked."""

import functools

import keras
import pytest

BACKEND = keras.backend.backend()

tensorflow_only = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="is about tf.function, XLA through it, or tf.data"
)
jax_only = pytest.mark.skipif(
    BACKEND != "jax", reason="is about JAX and what is written for it"
)
not_on_torch = pytest.mark.skipif(
    BACKEND == "torch",
    reason="Keras runs torch eagerly: one step an execution, and no trace",
)
not_on_jax = pytest.mark.skipif(
    BACKEND == "jax",
    reason="in a JAX trace a softmax cannot leave its logits on its output",
)
# JAX compiles each operation for each shape: where there are many, it takes long.
slow_on_jax = pytest.mark.slow if BACKEND == "jax" else lambda test: test


def _compilers():
    if BACKEND == "tensorflow":
        import tensorflow as tf

        xla = functools.partial(tf.function, jit_compile=True)
        return [pytest.param(tf.function, id="graph"), pytest.param(xla, id="xla")]
    if BACKEND == "jax":
        import jax

        return [pytest.param(jax.jit, id="jit")]
    return [pytest.param(None, id="none", marks=not_on_torch)]


# A function in, the same function compiled out.
every_compiler = pytest.mark.parametrize("compiler", _compilers())
