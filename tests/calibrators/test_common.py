"""What every calibrator does alike."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy
from scipy.special import log_softmax, softmax

from keras_calib import calibrators
from tests.backends import every_compiler, not_on_jax
from tests.calibrators import data

CALIBRATORS = {
    "temperature": calibrators.TemperatureScaling,
    "brier": lambda **a: calibrators.TemperatureScaling("brier", **a),
    "vector": calibrators.VectorScaling,
    "matrix": calibrators.MatrixScaling,
    "dirichlet": calibrators.DirichletCalibration,
    "platt": calibrators.PlattScaling,
    "beta": calibrators.BetaCalibration,
    "isotonic": calibrators.IsotonicCalibration,
    "histogram": calibrators.HistogramBinning,
    "quantile": lambda **a: calibrators.HistogramBinning(10, "equal_mass", **a),
    "noise": calibrators.NoiseCorrection,
    "inverse": lambda **a: calibrators.NoiseCorrection(0.02, True, **a),
}
every = pytest.mark.parametrize("name", CALIBRATORS)


def assert_close(p, q, name, atol):
    """Where a map has steps, one rounding moves a sample to the next."""
    steps = name in ("isotonic", "histogram", "quantile")
    far = np.abs(convert_to_numpy(p) - convert_to_numpy(q)).max(-1)
    assert (far > atol).mean() <= (0.05 if steps else 0.0), far.max()


def nll(p, y):
    p = convert_to_numpy(p).astype("float64")
    return -np.log(p[np.arange(len(y)), y]).mean()


@every
@every_compiler
@pytest.mark.parametrize("k", [2, 5])
def test_compiled(name, compiler, k):
    z, y = data.made(k=k)
    layer = CALIBRATORS[name]().fit(z, y)
    x = keras.ops.convert_to_tensor(z[:64], "float32")
    assert_close(compiler(layer)(x), layer(x), name, 1e-6)


@every
@pytest.mark.parametrize("k", [2, 5])
def test_of_any_shape_and_saved(name, k, tmp_path):
    z, y = data.made(k=k)
    layer = CALIBRATORS[name]().fit(z, y)
    x = z[:64].astype("float32")
    expected = convert_to_numpy(layer(x))
    assert expected.dtype == np.float32
    assert (expected >= 0).all()
    np.testing.assert_allclose(expected.sum(-1), 1, atol=1e-6)
    cube = convert_to_numpy(layer(x.reshape(4, 16, k)))
    assert_close(cube.reshape(64, k), expected, name, 1e-6)
    assert_close(layer.probabilities(z[:64]), expected, name, 2e-6)
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


@pytest.mark.parametrize("name", sorted(set(CALIBRATORS) - {"inverse"}))
def test_no_worse_than_before_on_other_samples(name):
    z, y = data.made(8000, 4, temperature=1.0)
    layer = CALIBRATORS[name](dtype="float64").fit(z[:4000], y[:4000])
    before, after = nll(softmax(z[4000:], -1), y[4000:]), nll(layer(z[4000:]), y[4000:])
    slack = {"histogram": 0.03, "quantile": 0.06, "isotonic": 0.01}  # steps lose some
    assert after < before + slack.get(name, 0.003)


@every
@pytest.mark.parametrize("head", [1, 2, 4])
def test_probabilities_with_exact_zeros(name, head):
    z, y = data.made(500, max(head, 2))
    p = softmax(z, -1)
    p[p < 0.01] = 0.0
    p /= p.sum(-1, keepdims=True)
    p = p[:, 1:] if head == 1 else p
    layer = CALIBRATORS[name](from_logits=False).fit(p, y)
    q = convert_to_numpy(layer(p))
    assert q.shape == p.shape
    assert np.isfinite(q).all()
    assert ((q >= 0) & (q <= 1)).all()


@not_on_jax
@every
def test_a_softmax_is_traced_back_to_its_logits(name):
    """To the same numbers, for maps that see a shift of the logits too."""
    z, y = data.made(500, 4)
    z += 5.0
    layer = CALIBRATORS[name](from_logits=False, dtype="float64").fit(softmax(z, -1), y)
    p = keras.activations.softmax(keras.ops.convert_to_tensor(z))
    assert_close(layer(p), layer(convert_to_numpy(p)), name, 1e-9)
    assert_close(layer(p), layer.probabilities(log_softmax(z, -1)), name, 1e-9)


@every
def test_weights_soft_labels_and_a_second_fit(name):
    z, y = data.made(300, 3)
    w = np.random.default_rng(1).integers(1, 4, len(y))
    layer = CALIBRATORS[name](dtype="float64").fit(z, np.eye(3)[y], w)
    again = CALIBRATORS[name](dtype="float64").fit(np.repeat(z, w, 0), np.repeat(y, w))
    if name != "quantile":  # the bins do not go by weight
        assert_close(layer(z), again(z), name, 2e-6)
    before = layer(z)
    layer.fit(z, y)
    layer.fit(z, y, w)
    assert_close(layer(z), before, name, 1e-12)


@every
def test_half_precision_gives_float32(name):
    z, y = data.made(300, 3)
    layer = CALIBRATORS[name](dtype="mixed_bfloat16").fit(z, y)
    p = layer(keras.ops.cast(z[:8], "bfloat16"))
    assert convert_to_numpy(p).dtype == np.float32
    assert layer.get_config()["dtype"] == "float32"


@every
def test_one_class_and_nan_are_refused(name):
    z, y = data.made(50, 3)
    with pytest.raises(ValueError, match="at least two classes"):
        CALIBRATORS[name]().fit(z, 0 * y)
    with pytest.raises(ValueError, match="must be finite"):
        CALIBRATORS[name]().fit(np.where(z > 2, np.nan, z), y)


@every
def test_where_the_argmax_is_promised(name):
    z, y = data.made()
    layer = CALIBRATORS[name](dtype="float64").fit(z, y)
    if layer.keeps_argmax:
        assert (convert_to_numpy(layer(z)).argmax(-1) == z.argmax(-1)).all()


def test_used_before_fit():
    for name, make in CALIBRATORS.items():
        if name not in ("inverse", "isotonic"):
            with pytest.raises(ValueError, match="has not been fitted"):
                make()(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="number of knots"):
        calibrators.IsotonicCalibration()(np.zeros((2, 3)))
