"""The calibration of a model is that of its predictions."""

import keras
import numpy as np
import pytest

import keras_calib
from tests.backends import slow_on_jax


def samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(70, 4)).astype("float32")
    return x, rng.integers(0, 3, 70), rng.random(70)


X, Y, W = samples()


def model_of(activation=None, loss=None, units=3):
    layers = [keras.Input((4,)), keras.layers.Dense(units, activation)]
    model = keras.Sequential(layers)
    model.set_weights([5 * w for w in model.get_weights()])
    if loss is not None:
        model.compile(loss=loss)
    return model


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        rows = slice(32 * i, 32 * i + 32)
        return X[rows], Y[rows], W[rows]


def test_arrays_batches_and_what_the_loss_says(capsys):
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = model_of(loss=logits)
    z = model.predict(X, verbose=0)
    expected = keras_calib.evaluate(Y, z, from_logits=True, sample_weight=W)
    found = keras_calib.evaluate_model(model, X, Y, sample_weight=W)
    assert found == pytest.approx(dict(expected), abs=1e-6)
    assert "3/3" in capsys.readouterr().out
    how = {"sample_weight": W, "by": Y > 0, "verbose": False}
    with pytest.warns(UserWarning, match="slices have fewer"):
        sliced = keras_calib.evaluate_model(model, X, Y, **how).slices
    alone = keras_calib.evaluate(
        Y[Y > 0], z[Y > 0], from_logits=True, sample_weight=W[Y > 0]
    )
    assert sliced[True] == pytest.approx(dict(alone), abs=1e-6)
    for data in (Batches(), [Batches()[i] for i in range(3)]):
        again = keras_calib.evaluate_model(model, data, verbose=False)
        assert again == found
    assert capsys.readouterr().out == ""


@slow_on_jax
@pytest.mark.parametrize(
    ("activation", "loss", "units"),
    [
        (None, None, 3),
        ("softmax", None, 3),
        ("softmax", "sparse_categorical_crossentropy", 3),
        ("sigmoid", "binary_crossentropy", 1),
        (None, "mse", 3),
    ],
)
def test_what_the_values_say(activation, loss, units):
    model = model_of(activation, loss, units)
    y = Y if units == 3 else Y % 2
    found = keras_calib.evaluate_model(model, X, y, verbose=False, num_bins=5)
    p = model.predict(X, verbose=0)
    expected = keras_calib.evaluate(y, p, from_logits=activation is None, num_bins=5)
    assert found == pytest.approx(dict(expected), abs=1e-6)


@slow_on_jax
def test_a_mask_hides_samples():
    inputs = keras.Input((5,), dtype="int32")
    rows = keras.layers.Embedding(7, 3, mask_zero=True)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(rows))
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 7, (6, 5)), rng.integers(0, 3, (6, 5))
    found = keras_calib.evaluate_model(model, x, y, verbose=False)
    p = model.predict(x, verbose=0)
    assert found.n == (x != 0).sum()
    expected = keras_calib.evaluate(y[x != 0], p[x != 0])
    assert found == pytest.approx(dict(expected), abs=1e-6)


def test_what_cannot_be_measured_is_refused():
    model = model_of("softmax", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="labels are missing: pass y"):
        keras_calib.evaluate_model(model, X)
    with pytest.raises(ValueError, match="labels are missing: pass y"):
        keras_calib.evaluate_model(model, [X], verbose=False)
    with pytest.raises(ValueError, match="there must be at least one batch"):
        keras_calib.evaluate_model(model, [], verbose=False)
    with pytest.raises(ValueError, match="from_logits=True"):
        keras_calib.evaluate_model(model, X, Y, from_logits=True, verbose=False)
    with pytest.raises(ValueError, match="`batch_size` must be a whole number"):
        keras_calib.evaluate_model(model, X, Y, batch_size=0)
    for given in (
        lambda: keras_calib.evaluate_model(model, Batches(), Y),
        lambda: keras_calib.evaluate_model(model, Batches(), sample_weight=W),
        lambda: keras_calib.evaluate_model(model, [(X, Y)], sample_weight=W),
    ):
        with pytest.raises(ValueError, match="of batches come in them.* with "):
            given()
    with pytest.raises(ValueError, match="must be a Keras model. Received: function"):
        keras_calib.evaluate_model(lambda x: x, X, Y)
    several = keras.Model(model.inputs, {"a": model.outputs[0], "b": model.outputs[0]})
    with pytest.raises(ValueError, match="model with one output is needed"):
        keras_calib.evaluate_model(several, X, Y, verbose=False)
