"""What every calibrator makes of what is wrong, or rare, in its input."""

import warnings

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy
from scipy.special import softmax

from keras_calib.calibrators.methods import METHODS
from tests.calibrators import data

K = 3
Z, Y = data.made(120, K)
P = softmax(Z, -1)
ALL = np.ones(len(Y))


def changed(x, value, rows=slice(0, 1), columns=slice(None)):
    x = np.array(x, "float64")
    x[(rows, columns)[: x.ndim]] = value
    return x


# Predictions, labels, weights; and what the error says.
REFUSED = {
    "NaN in logits": (changed(Z, np.nan), Y, None, "y_pred holds NaN"),
    "infinity in logits": (changed(Z, np.inf), Y, None, "NaN or infinity"),
    "a row of -inf": (changed(Z, -np.inf), Y, None, "rows of -inf alone"),
    "NaN in labels": (Z, changed(Y, np.nan), None, "y_true holds NaN"),
    "NaN in weights": (Z, Y, changed(ALL, np.nan), "sample_weight holds NaN"),
    "negative weights": (Z, Y, -ALL, "negative weights"),
    "weights that are all 0": (Z, Y, 0 * ALL, "at least 2 samples"),
    "empty": (Z[:0], Y[:0], None, "is empty"),
    "one sample": (Z[:1], Y[:1], None, "at least 2 samples"),
    "one class in the labels": (Z, 0 * Y, None, "at least two classes"),
    "one class in soft labels": (Z, np.eye(K)[0 * Y], None, "at least two classes"),
    "labels from 1": (Z, Y + 1, None, "write y_true - 1"),
    "labels of -1": (Z, changed(Y, -1), None, "use ignore_class=-1"),
    "labels + .5": (Z, Y + 0.5, None, "whole numbers"),
    "strings": (Z, np.array(["a", "b", "c"])[Y], None, "encode them"),
    "transposed": (Z.T, Y, None, "transposed"),
    "swapped": (Y, Z, None, "."),
    "percentages": (100 * P, Y, None, "neither probabilities"),
    "half of the mass": (P / 2, Y, None, "neither probabilities"),
    "soft labels of no distribution": (Z, 2 * np.eye(K)[Y], None, "soft labels"),
    "labels of another length": (Z, Y[1:], None, "same length"),
    "no classes": (Z[:, :0], Y, None, "is empty"),
    "weights that overflow": (Z, Y, 1e300 * ALL, "whose sums overflow"),
    "one axis": (Z[:, 0], Y, None, "."),
}
every = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


@every
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_refused(make, case):
    *arrays, message = case
    with pytest.raises(ValueError, match=message):
        make().fit(*arrays)


# Predictions, labels, weights that a fit takes.
ALLOWED = {
    "ties": (np.round(Z), Y, None),
    "equal logits": (np.round(Z) * [[1.0, 1.0, 0.0]], Y, None),
    "masked classes": (changed(Z, -np.inf, Y != 2, slice(2, 3)), Y, None),
    "weights of 0": (changed(Z, np.nan), Y, changed(ALL, 0.0)),
    "float16": (Z.astype("float16"), Y, None),
    "float16 probabilities": (P.astype("float16"), Y, None),
    "exact zeros": (np.eye(K)[(Y + (np.arange(120) % 4 == 0)) % K], Y, None),
    "large logits": (50.0 * Z, Y, None),
    "two classes of three": (Z[Y < 2], Y[Y < 2], None),
}


@every
@pytest.mark.parametrize("case", ALLOWED.values(), ids=ALLOWED)
def test_what_is_rare_gives_probabilities(make, case):
    z, y, weight = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # at a bound, or not converged
        layer = make().fit(z, y, weight)
    p = convert_to_numpy(layer(z if weight is None else z[1:]))
    assert p.dtype == np.float32
    assert np.isfinite(p).all()
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-6)


@every
def test_any_leading_shape_is_fitted_and_called(make):
    for x in (Z, P):
        flat = make().fit(x, Y)
        layer = make().fit(x.reshape(40, 3, K), Y.reshape(40, 3))
        found = convert_to_numpy(layer(x.reshape(40, 3, K))).reshape(-1, K)
        np.testing.assert_allclose(found, convert_to_numpy(flat(x)), atol=1e-6)


@every
def test_a_failed_fit_leaves_the_layer_as_it_was(make):
    """Without the checks of all values, too."""
    layer, new = make().fit(Z, Y), make()
    before = layer.get_weights()
    for y, weight in (
        (0 * Y, None),
        (changed(Y, -1), None),
        (changed(Y, K), None),
        (Y + 0.5, None),
        (Y, changed(ALL, np.nan)),
        (Y, changed(ALL, -1.0)),
    ):
        for one in (layer, new):
            with pytest.raises(ValueError):
                one.fit(Z, y, weight, validate=False)
    for found, expected in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert (layer.from_logits, new.from_logits, new.built) == (True, None, False)


@every
def test_inputs_of_other_shapes_are_refused(make):
    layer = make().fit(Z, Y)
    for x in (Z[:, 0], Z > 0):
        with pytest.raises(ValueError, match=r"must be .* of shape \(..., K\)"):
            layer(x)
    if layer.weight_shapes(K) != layer.weight_shapes(K + 1):
        one_more = np.concatenate([Z, Z[:, :1]], -1)
        for call in (layer, layer.probabilities, lambda z: layer.fit(z, Y)):
            with pytest.raises(ValueError, match="another number of classes"):
                call(one_more)
    with pytest.raises(ValueError, match=r"shape \(N, K\), K >= 2"):
        layer.probabilities(Z[:, :1])


def test_a_fit_that_is_not_finite_is_refused():
    layer = METHODS["temperature"]().fit(Z, Y)
    before = layer.temperature
    for z in (1e300 * Z.astype("float64"), changed(Z, np.nan)):
        with pytest.raises(ValueError, match="fitted 'temperature' .* NaN or inf"):
            layer.fit(z, Y, validate=False)
    assert layer.temperature == before


@every
def test_nan_is_given_back_and_an_empty_batch_too(make):
    layer = make().fit(Z, Y)
    p = convert_to_numpy(layer(changed(Z, np.nan)))
    assert np.isnan(p[0]).all()
    assert np.isfinite(p[1:]).all()
    assert layer(Z[:0].astype("float32")).shape == (0, K)


@every
def test_logits_are_told_from_probabilities_and_kept(make):
    of_logits, of_probabilities = make().fit(Z, Y), make().fit(P, Y)
    assert of_logits.from_logits is True
    assert of_probabilities.from_logits is False
    assert type(of_logits).from_config(of_logits.get_config()).from_logits is True
    for layer, wrong in ((of_logits, P), (of_probabilities, Z)):
        with pytest.raises(ValueError, match="from_logits"):
            layer.fit(wrong, Y)
        with pytest.raises(ValueError, match=f"with from_logits={layer.from_logits}"):
            layer(wrong)
    with pytest.raises(ValueError, match="these are logits; use from_logits=True"):
        make(from_logits=False).fit(Z, Y)
    with pytest.raises(ValueError, match="use from_logits=False"):
        make(from_logits=True).fit(P, Y)


def test_the_temperature_of_probabilities():
    """Read as logits, they gave another."""
    make = METHODS["temperature"]
    p = P.astype("float32")
    found = make().fit(p, Y).temperature
    assert found == pytest.approx(make().fit(Z, Y).temperature, rel=1e-5)


@every
def test_checks_are_switched_off(make):
    layer = make(from_logits=False)
    with pytest.raises(ValueError, match="sum to 1"):
        layer.fit(P / 2, Y)
    layer.fit(P / 2, Y, validate=False)


def test_a_layer_that_does_not_know_what_it_is_given():
    make = METHODS["noise"]
    found = [convert_to_numpy(make(0.1)(x)) for x in (Z, P)]
    np.testing.assert_allclose(*found, atol=1e-6)
    inputs = keras.Input((K,))
    model = keras.Model(inputs, make(0.1)(inputs))
    model.run_eagerly = False
    if keras.backend.backend() != "torch":  # whose predict is not compiled
        with pytest.raises(ValueError, match="does not know whether"):
            model.predict(P, verbose=0)
