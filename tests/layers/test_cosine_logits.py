"""The head of a margin softmax."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib.layers import CosineLogits


def features():
    return np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def test_cosines():
    layer, x = CosineLogits(3), features()
    got = ops.convert_to_numpy(layer(x))
    w = ops.convert_to_numpy(layer.kernel.value)
    expected = x @ w / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(w, axis=0)
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(got, ops.convert_to_numpy(layer(100 * x)), atol=1e-6)
    assert len(layer.trainable_weights) == 1


def test_scale():
    x = features()
    cosines, logits = CosineLogits(3), CosineLogits(3, 30.0, learn_scale=True)
    logits.build((None, 4))
    cosines.build((None, 4))
    cosines.kernel.assign(logits.kernel)
    np.testing.assert_allclose(
        ops.convert_to_numpy(logits(x)),
        30 * ops.convert_to_numpy(cosines(x)),
        rtol=1e-6,
    )
    assert len(logits.trainable_weights) == 2


def test_a_zero_vector_is_finite():
    assert np.isfinite(ops.convert_to_numpy(CosineLogits(3)(np.zeros((2, 4))))).all()


def test_config():
    layer = CosineLogits(3, 30.0, True, 2.0, "he_normal", name="head")
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert again.get_config() == layer.get_config()
    assert again.compute_output_shape((None, 7, 4)) == (None, 7, 3)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"units": 1}, "`units` must be .*>= 2. Received: 1"),
        ({"units": 3.7}, "`units` must be a whole number .*Received: 3.7"),
        ({"units": 3, "scale": 0.5}, "`scale` must .* at least 1. Received: 0.5"),
        ({"units": 3, "min_scale": 0.0}, "`min_scale` .*Received: 0.0"),
        ({"units": 3, "learn_scale": True}, "`learn_scale` needs an initial"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        CosineLogits(**kwargs)
