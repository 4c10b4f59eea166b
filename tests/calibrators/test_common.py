"""What every calibrator does alike."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy
from scipy.special import log_softmax, softmax

from keras_calib import calibrators
from tests.backends import every_compiler, not_on_jax
from tests.calibrators import data


class Row(NamedTuple):
    """A calibrator, and what it does otherwise than the rest."""

    make: Callable[..., calibrators.Calibrator]
    # Where a map has steps, one rounding moves a sample to the next step.
    steps: bool = False
    # By how much the likelihood of other samples may fall on a calibrated model;
    # None where the map is not fitted.
    slack: float | None = 0.003
    # What is said of the layer before it is fitted; None where nothing is.
    unfitted: str | None = "has not been fitted"


def brier(**arguments):
    return calibrators.TemperatureScaling("brier", **arguments)


def equal_mass(**arguments):
    return calibrators.HistogramBinning(10, "equal_mass", **arguments)


def structured_vector(**arguments):
    return calibrators.StructuredVectorScaling(1.0, **arguments)


def structured_matrix(**arguments):
    return calibrators.StructuredMatrixScaling(1.0, **arguments)


def inverse(**arguments):
    return calibrators.NoiseCorrection(0.02, True, **arguments)


ROWS = {
    "temperature": Row(calibrators.TemperatureScaling),
    "brier": Row(brier),
    "ensemble_temperature": Row(calibrators.EnsembleTemperatureScaling),
    "structured_vector": Row(structured_vector),
    "structured_matrix": Row(structured_matrix),
    "vector": Row(calibrators.VectorScaling),
    "matrix": Row(calibrators.MatrixScaling),
    "dirichlet": Row(calibrators.DirichletCalibration),
    "platt": Row(calibrators.PlattScaling),
    "quadratic": Row(calibrators.QuadraticScaling),
    "beta": Row(calibrators.BetaCalibration),
    "isotonic": Row(
        calibrators.IsotonicCalibration,
        steps=True,
        slack=0.01,
        unfitted="does not know its number of knots",
    ),
    "histogram": Row(calibrators.HistogramBinning, steps=True, slack=0.03),
    "equal_mass": Row(equal_mass, steps=True, slack=0.06),
    "noise": Row(calibrators.NoiseCorrection),
    "inverse": Row(inverse, slack=None, unfitted=None),
}
every = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


def assert_close(p, q, row, atol):
    far = np.abs(convert_to_numpy(p) - convert_to_numpy(q)).max(-1)
    assert (far > atol).mean() <= (0.05 if row.steps else 0.0), far.max()


def nll(p, y):
    p = convert_to_numpy(p).astype("float64")
    return -np.log(p[np.arange(len(y)), y]).mean()


@pytest.mark.thorough
@every
@every_compiler
@pytest.mark.parametrize("k", [2, 5])
def test_compiled(row, compiler, k):
    z, y = data.made(k=k)
    layer = row.make().fit(z, y)
    x = keras.ops.convert_to_tensor(z[:64], "float32")
    assert_close(compiler(layer)(x), layer(x), row, 1e-6)


@pytest.mark.thorough
@every
@pytest.mark.parametrize("k", [2, 5])
def test_of_any_shape_and_saved(row, k, tmp_path):
    z, y = data.made(k=k)
    layer = row.make().fit(z, y)
    x = z[:64].astype("float32")
    expected = convert_to_numpy(layer(x))
    assert expected.dtype == np.float32
    assert (expected >= 0).all()
    np.testing.assert_allclose(expected.sum(-1), 1, atol=1e-6)
    cube = convert_to_numpy(layer(x.reshape(4, 16, k)))
    assert_close(cube.reshape(64, k), expected, row, 1e-6)
    assert_close(layer.probabilities(z[:64]), expected, row, 2e-6)
    inputs = keras.Input((k,))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        clone.predict(x, verbose=0), model.predict(x, verbose=0)
    )


@every
def test_no_worse_than_before_on_other_samples(row):
    if row.slack is None:
        pytest.skip("is not fitted")
    z, y = data.made(8000, 4, temperature=1.0)
    layer = row.make(dtype="float64").fit(z[:4000], y[:4000])
    before, after = nll(softmax(z[4000:], -1), y[4000:]), nll(layer(z[4000:]), y[4000:])
    assert after < before + row.slack


@every
@pytest.mark.parametrize("head", [1, 2, 4])
def test_probabilities_with_exact_zeros(row, head):
    z, y = data.made(500, max(head, 2))
    p = softmax(z, -1)
    p[p < 0.01] = 0.0
    p /= p.sum(-1, keepdims=True)
    p = p[:, 1:] if head == 1 else p
    layer = row.make(from_logits=False).fit(p, y)
    q = convert_to_numpy(layer(p))
    assert q.shape == p.shape
    assert np.isfinite(q).all()
    assert ((q >= 0) & (q <= 1)).all()


@not_on_jax
@every
def test_a_softmax_is_traced_back_to_its_logits(row):
    """To the same numbers, for maps that see a shift of the logits too."""
    z, y = data.made(500, 4)
    z += 5.0
    layer = row.make(from_logits=False, dtype="float64").fit(softmax(z, -1), y)
    p = keras.activations.softmax(keras.ops.convert_to_tensor(z))
    assert_close(layer(p), layer(convert_to_numpy(p)), row, 1e-9)
    assert_close(layer(p), layer.probabilities(log_softmax(z, -1)), row, 1e-9)


@every
def test_weights_soft_labels_and_a_second_fit(row):
    z, y = data.made(300, 3)
    w = np.random.default_rng(1).integers(1, 4, len(y))
    layer = row.make(dtype="float64").fit(z, np.eye(3)[y], w)
    again = row.make(dtype="float64").fit(np.repeat(z, w, 0), np.repeat(y, w))
    assert_close(layer(z), again(z), row, 2e-6)
    before = layer(z)
    layer.fit(z, y)
    layer.fit(z, y, w)
    assert_close(layer(z), before, row, 1e-12)


@every
def test_half_precision_gives_float32(row):
    z, y = data.made(300, 3)
    layer = row.make(dtype="mixed_bfloat16").fit(z, y)
    p = layer(keras.ops.cast(z[:8], "bfloat16"))
    assert convert_to_numpy(p).dtype == np.float32
    assert layer.get_config()["dtype"] == "float32"


@every
def test_one_class_and_nan_are_refused(row):
    z, y = data.made(50, 3)
    with pytest.raises(ValueError, match="at least two classes"):
        row.make().fit(z, 0 * y)
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        row.make().fit(np.where(z > 2, np.nan, z), y)


@every
def test_where_the_argmax_is_promised(row):
    z, y = data.made()
    layer = row.make(dtype="float64").fit(z, y)
    if layer.keeps_argmax:
        assert (convert_to_numpy(layer(z)).argmax(-1) == z.argmax(-1)).all()


@every
def test_used_before_fit(row):
    x = np.zeros((2, 3))
    if row.unfitted is None:
        assert np.isfinite(convert_to_numpy(row.make()(x))).all()
    else:
        with pytest.raises(ValueError, match=row.unfitted):
            row.make()(x)


@every
@pytest.mark.parametrize(
    ("argument", "value"),
    [("ignore_class", 0.5), ("ignore_class", "0"), ("min_probability", 0.0)],
)
def test_shared_arguments_are_checked(row, argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be"):
        row.make(**{argument: value})
