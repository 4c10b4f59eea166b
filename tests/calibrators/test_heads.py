"""Logits behind a head are those of the activation that made the probabilities."""

import keras
import numpy as np
import pytest
from keras import layers
from keras.ops import convert_to_numpy
from scipy.special import expit, softmax

from keras_calib import calibrate
from keras_calib.calibrators import TemperatureScaling
from tests.backends import not_on_jax, tensorflow_only
from tests.calibrators import data

Z, Y = data.made(400, 3)
Z = Z.astype("float32")
SHARP = 1.25

RIGHT = {
    "layer": (layers.Softmax(), 3, 1),
    "name": (layers.Activation("softmax"), 3, 1),
    "function": (layers.Lambda(keras.activations.softmax), 3, 1),
    "last of several": (
        keras.Sequential([layers.Rescaling(SHARP), layers.Softmax()]),
        3,
        SHARP,
    ),
    "in Dense": (
        layers.Dense(3, "softmax", kernel_initializer="identity"),
        3,
        1,
    ),
    "one sigmoid": (layers.Activation("sigmoid"), 1, 1),
}
WRONG = {
    "two sigmoids": (layers.Activation("sigmoid"), 2),
    "three sigmoids": (layers.Dense(3, "sigmoid", kernel_initializer="identity"), 3),
    "a softmax of one": (layers.Softmax(), 1),
}


def scaling(temperature):
    """Returns temperature scaling of probabilities."""
    layer = TemperatureScaling(from_logits=False)
    layer.build((None, 3))
    layer.set_weights([np.array(temperature)])
    return layer


@pytest.mark.parametrize("head", RIGHT)
def test_right_heads(head):
    activation, k, factor = RIGHT[head]
    x = keras.Input((k,))
    model = keras.Model(x, scaling(2.0)(activation(x)))
    z = factor * Z[:, :k] / 2
    expected = expit(z) if k == 1 else softmax(z, -1)
    # Of a sigmoid JAX gives no logit: the last digit of p is much of 1 - p.
    atol = 1e-5 if k == 1 and keras.backend.backend() == "jax" else 1e-6
    found = model.predict(Z[:, :k], verbose=0)
    np.testing.assert_allclose(found, expected, atol=atol)
    found = convert_to_numpy(model(Z[:, :k]))
    np.testing.assert_allclose(found, expected, atol=atol)


@not_on_jax
@pytest.mark.parametrize("head", WRONG)
def test_wrong_heads(head):
    activation, k = WRONG[head]
    x = keras.Input((k,))
    net = keras.Model(x, activation(x))
    model = keras.Model(x, scaling(2.0)(net(x)))
    with pytest.raises(ValueError, match="or one sigmoid|which sum to 1"):
        model.predict(Z[:, :k], verbose=0)
    with pytest.raises(ValueError, match="or one sigmoid|which sum to 1"):
        model(Z[:, :k])
    with pytest.raises(ValueError, match="or one sigmoid|which sum to 1"):
        calibrate(net, Z[:, :k], Y % 2, verbose=0)


@tensorflow_only
def test_sigmoids_that_sum_to_1_are_served_with_logits_of_their_own(tmp_path):
    """Their softmax has a difference of logits that is half as large."""
    import tensorflow as tf

    from keras_calib.serving import export

    x = keras.Input((1,), name="x")
    z = layers.Concatenate()([-x, x])
    model = keras.Model(x, layers.Activation("sigmoid")(z))
    folder = export(model, tmp_path)
    served = tf.saved_model.load(folder).signatures["logits"]
    found = served(x=tf.constant(Z[:, :1]))["logits"]
    np.testing.assert_allclose(softmax(found, -1)[:, 1], expit(Z[:, 0]), atol=1e-6)
