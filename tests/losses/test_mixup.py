"""Mixup and cutout, through Keras's layers, with targets that are soft."""

import keras
import numpy as np
import pytest

from keras_calib import GammaCE
from tests.losses.tools import per_sample, value_and_gradient

V4 = np.array([[1.0, 2.0, 0.5, -1.0]])


def test_reference():
    """.7 l(p_0) + .3 l(p_1), never l of the mixed label."""
    loss = GammaCE(0.1, from_logits=True, dtype="float64")
    mixed = np.array([[0.7, 0.3, 0.0, 0.0]])
    assert per_sample(loss, mixed, V4)[0] == pytest.approx(1.076161191505128, abs=1e-15)
    _, gradient = value_and_gradient(loss, mixed, V4, "float64")
    parts = [value_and_gradient(loss, [i], V4, "float64")[1] for i in (0, 1)]
    np.testing.assert_allclose(gradient, 0.7 * parts[0] + 0.3 * parts[1], rtol=1e-13)


@pytest.mark.parametrize(("gamma", "expected"), [(0.1, 0.678530), (0.0, 0.718770)])
def test_erratum_of_the_first_article(gamma, expected):
    """p = (.6, .3): the article has .820161, and .867501 at gamma = 0."""
    loss = GammaCE(gamma, dtype="float64")
    got = per_sample(loss, np.array([[0.7, 0.3, 0.0]]), np.array([[0.6, 0.3, 0.1]]))[0]
    assert got == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("augment", ["mixup", "cutout"])
def test_trains_through_the_layer(augment):
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).random((32, 8, 8, 1)).astype("float32")
    upper = images[:, :4].mean((1, 2, 3)) > images[:, 4:].mean((1, 2, 3))
    targets = np.eye(2, dtype="float32")[upper.astype("int32")]
    if augment == "mixup":
        layer = keras.layers.MixUp(alpha=0.4, seed=1)
    else:
        layer = keras.layers.RandomErasing(
            1.0, scale=(0.1, 0.3), value_range=(0, 1), seed=1
        )
    data = layer({"images": images, "labels": targets}, training=True)
    x, y = (keras.ops.convert_to_numpy(data[key]) for key in ("images", "labels"))
    np.testing.assert_allclose(y.sum(-1), 1.0, rtol=1e-6)
    assert ((y > 0.01) & (y < 0.99)).any() == (augment == "mixup")
    assert not np.array_equal(x, images)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.compile(keras.optimizers.Adam(0.01), GammaCE(0.1, from_logits=True))
    history = model.fit(x, y, epochs=15, verbose=0).history["loss"]
    assert history[-1] < history[0]
