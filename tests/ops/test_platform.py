"""Tests of the choice of a form by platform."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib.ops.platform import by_platform


def either(x):
    return by_platform(lambda x: x + 1.0, lambda x: x + 2.0, x)


def test_a_cpu_takes_its_form():
    with keras.device("cpu:0"):
        x = ops.convert_to_tensor([1.0, 2.0])
        assert np.array_equal(ops.convert_to_numpy(either(x)), [2.0, 3.0])


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX lowers for others")
@pytest.mark.parametrize("platform, added", [("cpu", 1.0), ("cuda", 2.0), ("tpu", 2.0)])
def test_jax_chooses_where_it_lowers(platform, added):
    import jax

    exported = jax.export.export(jax.jit(either), platforms=[platform])
    program = exported(jax.ShapeDtypeStruct((2,), "float32")).mlir_module()
    assert f"dense<{added:.6e}>" in program
    assert f"dense<{3.0 - added:.6e}>" not in program


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX lowers for others")
@pytest.mark.parametrize("platform, added", [("cpu", 1.0), ("cuda", 2.0), ("tpu", 3.0)])
def test_a_tpu_takes_its_own_form(platform, added):
    import jax

    def each(x):
        forms = [lambda x, c=c: x + c for c in (1.0, 2.0, 3.0)]
        return by_platform(*forms[:2], x, tpu=forms[2])

    exported = jax.export.export(jax.jit(each), platforms=[platform])
    program = exported(jax.ShapeDtypeStruct((2,), "float32")).mlir_module()
    assert [f"dense<{c:.6e}>" in program for c in (1.0, 2.0, 3.0)] == [
        c == added for c in (1.0, 2.0, 3.0)
    ]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's")
def test_tensorflow_chooses_by_device_and_by_what_is_visible(monkeypatch):
    import tensorflow as tf

    x = tf.constant([1.0])

    @tf.function
    def anywhere(x):
        return either(x)

    assert anywhere(x) == 2.0
    gpu = tf.config.LogicalDevice("/device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda: [gpu])
    assert tf.function(either)(x) == 3.0
    tpu = tf.config.LogicalDevice("/device:TPU:0", "TPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda: [tpu])
    assert tf.function(either)(x) == 3.0

    @tf.function
    def on_the_cpu(x):
        with tf.device("cpu:0"):
            return either(x + 0.0)

    assert on_the_cpu(x) == 2.0
