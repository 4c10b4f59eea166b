"""Marks for tests that some backends cannot run, and compilers for those that can."""

import functools

import keras
import pytest

BACKEND = keras.backend.backend()

tensorflow_only = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="tests tf.function, its XLA, or tf.data"
)
jax_only = pytest.mark.skipif(
    BACKEND != "jax", reason="tests JAX, or code written for it"
)
not_on_torch = pytest.mark.skipif(
    BACKEND == "torch",
    reason="Keras runs torch eagerly, one step at a time, without a trace",
)
not_on_jax = pytest.mark.skipif(
    BACKEND == "jax",
    reason="in a JAX trace, a softmax cannot attach its logits to its output",
)


def _computes_in_float64():
    if BACKEND != "jax":
        return True
    import jax

    return jax.config.jax_enable_x64


needs_float64 = pytest.mark.skipif(
    not _computes_in_float64(), reason="JAX computes in float64 if JAX_ENABLE_X64 is 1"
)
# JAX compiles each operation for each shape, so a test with many shapes takes long.
slow_on_jax = (
    pytest.mark.slow
    if BACKEND == "jax"
    else pytest.mark.skipif(False, reason="marks nothing")
)


def _compilers():
    if BACKEND == "tensorflow":
        import tensorflow as tf

        xla = functools.partial(tf.function, jit_compile=True)
        return [pytest.param(tf.function, id="graph"), pytest.param(xla, id="xla")]
    if BACKEND == "jax":
        import jax

        return [pytest.param(jax.jit, id="jit")]
    return [pytest.param(None, id="none", marks=not_on_torch)]


# Parametrizes a test by functions that compile a function.
every_compiler = pytest.mark.parametrize("compiler", _compilers())
