"""`class_weight` in `fit`: it weights samples by their label, in every format."""

import keras
import numpy as np
import pytest

from keras_calib import AlphaBalancedCE, GammaCE
from tests.backends import tensorflow_only
from tests.losses.tools import per_sample

Y = np.array([2, 0, 1, 1, 0, 2, 2, 1, 0, 0, 1, 2])
SOFT = 0.7 * np.eye(3)[Y] + 0.1
FORMATS = {"(N,)": Y, "(N, 1)": Y[:, None], "one-hot": np.eye(3)[Y], "soft": SOFT}
FACTORS = [0.5, 1.0, 4.0]


def loss_in_fit(x, y, loss, **kwargs):
    """Returns the loss of a model that hands on its input."""
    model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Identity()])
    model.compile("sgd", loss)
    history = model.fit(x, y, len(x), verbose=0, shuffle=False, **kwargs)
    return history.history["loss"][0]


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_of_one_label_a_sample(form):
    z = np.random.default_rng(11).normal(size=(12, 3)).astype("float32")
    loss = GammaCE(0.1, from_logits=True)
    got = loss_in_fit(z, FORMATS[form], loss, class_weight=dict(enumerate(FACTORS)))
    expected = np.take(FACTORS, Y) * per_sample(loss, FORMATS[form], z)
    assert got == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("num_positions", [3, 4])
def test_labels_of_a_sequence_are_refused(num_positions):
    """Keras takes the place of the largest for the class of them all."""
    rng = np.random.default_rng(11)
    z = rng.normal(size=(4, num_positions, 3)).astype("float32")
    y = rng.integers(0, 3, (4, num_positions))
    loss = GammaCE(0.1, from_logits=True)
    with pytest.raises(ValueError, match=r"use AlphaBalancedCE.*shape=\(4,\)"):
        loss_in_fit(z, y, loss, class_weight=dict(enumerate(FACTORS)))


def test_alpha_weights_each_position():
    rng = np.random.default_rng(11)
    z, y = rng.normal(size=(4, 5, 3)), rng.integers(0, 3, (4, 5))
    kwargs = {"from_logits": True, "dtype": "float64"}
    np.testing.assert_allclose(
        per_sample(AlphaBalancedCE(FACTORS, **kwargs), y, z),
        np.take(FACTORS, y) * per_sample(AlphaBalancedCE(**kwargs), y, z),
        rtol=1e-13,
    )


@tensorflow_only
def test_weights_whose_axis_of_the_classes_is_unknown():
    import tensorflow as tf

    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, (2, 4, 5))
    z = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    weight = rng.random((2, 4, 5)).astype("float32")
    loss = GammaCE(0.1, from_logits=True, axis=1)

    def weighted(shape):
        signature = [tf.TensorSpec(shape)]
        return tf.function(lambda w: loss(y, z, w), input_signature=signature)

    expected = float(loss(y, z, weight))
    found = weighted([None, 1, None, None])(weight[:, None])
    assert float(found) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="squeeze"):
        weighted([None] * 4)(weight[:, None])
