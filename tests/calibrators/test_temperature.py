"""One temperature: to all digits, at any scale, of any labels."""

import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from keras.ops import convert_to_numpy
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.calibration import _TemperatureScaling

from keras_calib import ExpectedCalibrationError, TemperatureScaling
from keras_calib.calibrators import objectives, temperature
from keras_calib.calibrators.samples import Samples
from tests.calibrators import data

SMALL = np.array([[2, 0, 0], [3, 1, 0], [0, 2.5, 0], [4, 0, 1]])
SMALL_LABELS = [0, 1, 1, 0]


def fitted(z, y, weight=None, **arguments):
    return TemperatureScaling(dtype="float64", **arguments).fit(z, y, weight)


def nll(z, y):
    return -log_softmax(z, -1)[np.arange(len(y)), y].mean()


def ece(p, y):
    metric = ExpectedCalibrationError(15, dtype="float64")
    metric.update_state(y, p)
    return float(metric.result())


def test_small_example_to_all_digits():
    """Expected with mpmath, 40 digits: the root of the derivative."""
    t = fitted(SMALL, SMALL_LABELS).temperature
    assert t == pytest.approx(1.2440002304481450, rel=1e-12)
    assert nll(SMALL / t, SMALL_LABELS) == pytest.approx(0.6397216353561357, rel=1e-15)
    assert objectives.nll(Samples.read(SMALL, SMALL_LABELS)) == pytest.approx(
        0.6568207684816836, rel=1e-15
    )


@pytest.mark.parametrize(
    ("outputs", "min_probability", "temperature", "before", "after", "digits"),
    [
        (data.densenet, 1e-300, 2.1176094879464498, 0.1422, 0.0120, 1e-12),
        (data.wideresnet, 1e-300, 2.052548800599498, 0.0537, 0.0062, 1e-12),
        (data.vgg, 1e-300, 1.686, 0.0397801, 0.0141, 5e-4),
        # Exact zeros, of which some are the true class: what they are read as counts.
        (data.newsgroups, 1e-7, 0.627, 0.2011, 0.0810, 5e-4),
    ],
)
def test_real_nets(outputs, min_probability, temperature, before, after, digits):
    """The long temperatures with SciPy's brentq in 80-bit floats."""
    p, y = outputs()
    layer = fitted(p, y, from_logits=False, min_probability=min_probability)
    assert layer.temperature == pytest.approx(temperature, abs=digits)
    assert ece(p, y) == pytest.approx(before, abs=6e-5)
    calibrated = layer(p)
    assert ece(calibrated, y) == pytest.approx(after, abs=6e-5)
    assert (convert_to_numpy(calibrated).argmax(-1) == p.argmax(-1)).all()


def test_the_default_floor_moves_no_float32_probability():
    p, y = data.densenet()
    assert fitted(p, y, from_logits=False).temperature == pytest.approx(
        2.1176094879464498, abs=1e-12
    )


def test_half_the_rows_and_the_other_half():
    """Figures of VGG16 fitted on some rows: never worse on the others."""
    p, y = data.vgg()
    z, rows = np.log(np.maximum(p, 1e-45)), np.random.default_rng(0).permutation(len(y))
    fit, test = rows[:5000], rows[5000:]
    t = fitted(z[fit], y[fit]).temperature
    assert t == pytest.approx(1.70, abs=0.1)
    assert nll(z[test] / t, y[test]) < 0.85 * nll(z[test], y[test])


@pytest.mark.parametrize("scale", [1.0, 10.0, 0.05, 1e5, 1e-5])
def test_scikit_learn_and_any_scale(scale):
    z, y = data.made()
    t = fitted(z, y).temperature
    assert fitted(scale * z, y).temperature == pytest.approx(scale * t, rel=1e-12)
    if 1e-3 < scale < 1e3:  # scikit-learn's bounds are absolute
        peer = 1.0 / _TemperatureScaling().fit(scale * z, y).beta_
        assert fitted(scale * z, y).temperature == pytest.approx(peer, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    k=st.integers(2, 7),
    temperature=st.floats(0.3, 5.0),
    log_scale=st.floats(-2.0, 2.0),
    shift=st.floats(-1e3, 1e3),
)
def test_what_does_not_matter(seed, k, temperature, log_scale, shift):
    """Shift, order and scale; and no neighbor is better."""
    z, y = data.made(300, k, temperature, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        t = fitted(z, y).temperature
        if not 0.05 < t < 20.0:
            return
        s, back = np.exp(log_scale), slice(None, None, -1)
        assert fitted(s * z, y).temperature == pytest.approx(s * t, rel=1e-9)
        moved = fitted(z[back] + shift, y[back]).temperature
        assert moved == pytest.approx(t, rel=1e-9)
    best = nll(z / t, y)
    assert best <= nll(z, y) + 1e-15
    assert best <= min(nll(z / t / 1.001, y), nll(z / t * 1.001, y))


def test_weights_are_counts():
    z, y = data.made(400)
    w = np.random.default_rng(1).integers(0, 4, len(y))
    repeated = fitted(np.repeat(z, w, 0), np.repeat(y, w)).temperature
    assert fitted(z, y, w).temperature == pytest.approx(repeated, rel=1e-11)
    assert fitted(z, y, 1e-9 * w).temperature == pytest.approx(repeated, rel=1e-11)


def test_formats_of_labels_and_ranks():
    z, y = data.made(600)
    t = fitted(z, y).temperature
    grid, labels = z.reshape(10, 6, 10, 5), y.reshape(10, 6, 10)
    for other in (y[:, None], np.eye(5)[y], y.astype("float32")):
        assert fitted(z, other).temperature == pytest.approx(t, rel=1e-11)
    assert fitted(grid, labels).temperature == pytest.approx(t, rel=1e-11)
    ignored = np.where(np.arange(10) < 9, labels, 255)
    kept = fitted(grid[..., :9, :], labels[..., :9]).temperature
    assert fitted(grid, ignored, ignore_class=255).temperature == pytest.approx(
        kept, rel=1e-11
    )
    rows = np.arange(10.0)
    assert fitted(grid, labels, rows).temperature == pytest.approx(
        fitted(z, y, np.repeat(rows, 60)).temperature, rel=1e-11
    )


def test_soft_labels():
    """Targets softmax(z / 3) are met by T = 3 exactly."""
    z, _ = data.made()
    assert fitted(z, softmax(z / 3, -1)).temperature == pytest.approx(3.0, rel=1e-12)


def test_one_sigmoid_output_is_two_classes():
    z, y = data.made(k=2)
    d = z[:, 1:] - z[:, :1]
    t = fitted(z, y).temperature
    for labels in (y, y[:, None], y.astype(bool)):
        layer = fitted(d, labels)
        assert layer.temperature == pytest.approx(t, rel=1e-11)
    found = convert_to_numpy(layer(d))
    np.testing.assert_allclose(found, softmax(z / t, -1)[:, 1:], atol=1e-12)
    p = 1 / (1 + np.exp(-d))
    layer = fitted(p, y, from_logits=False)
    assert layer.temperature == pytest.approx(t, rel=1e-8)
    found = convert_to_numpy(layer(p))
    np.testing.assert_allclose(found, softmax(z / t, -1)[:, 1:], atol=1e-9)


def test_float32_logits_to_seven_digits():
    """And where there are so many that a part of them tells where to look."""
    z, y = data.made(4500, 1000)
    z = z.astype("float32")
    exact = fitted(z.astype("float64"), y)
    assert fitted(z, y).temperature == pytest.approx(exact.temperature, rel=3e-7)
    assert fitted(z[:500], y[:500]).temperature == pytest.approx(
        fitted(z[:500].astype("float64"), y[:500]).temperature, rel=3e-7
    )


def test_a_part_of_the_samples_spares_passes_over_all(monkeypatch):
    passes, each = [], Samples.map

    def counted(samples, function):
        passes.append(len(samples))
        return each(samples, function)

    monkeypatch.setattr(Samples, "map", counted)
    monkeypatch.setattr(temperature, "_PART", 2**14)
    z, y = data.made(4500, 10)
    layer = fitted(z.astype("float32"), y)
    assert passes.count(4500) <= 3
    exact = fitted(z, y)
    assert passes.count(4500) <= 3 + 4
    assert layer.temperature == pytest.approx(exact.temperature, rel=3e-7)


def test_a_part_may_mislead(monkeypatch):
    """The part is far more confident than the rest."""
    monkeypatch.setattr(temperature, "_PART", 2**9)
    z, y = data.made(1000, 8)
    z[:: 1000 // 64] *= 50.0
    found = fitted(z, y).temperature

    def loss(log_t):
        return nll(z / np.exp(log_t), y)

    best = minimize_scalar(loss, (0.0, 1.0), tol=1e-12)
    assert loss(np.log(found)) == pytest.approx(best.fun, rel=1e-12)


def test_separable_data_gives_a_bound_and_a_warning():
    z = np.eye(3)[[0, 1, 2] * 7] * 4.0
    z[:, 0] -= 0.5
    with pytest.warns(UserWarning, match=r"low bound, T=0\.004.*that of the label"):
        layer = fitted(z, z.argmax(-1))
    assert layer.temperature == pytest.approx(0.004)
    assert np.isfinite(convert_to_numpy(layer(z))).all()
    with pytest.warns(UserWarning, match=r"low bound, T=0\.5"):
        assert fitted(z, z.argmax(-1), bounds=(0.5, 2)).temperature == 0.5


def test_hopeless_data_gives_the_other_bound():
    z = np.eye(3)[[0, 1, 2] * 7] * 4.0
    for scale in (1.0, 1e-4, 1e4):
        with pytest.warns(UserWarning, match="high bound, T=.*than chance"):
            layer = fitted(scale * z, z.argmin(-1), from_logits=True)
        assert layer.temperature == pytest.approx(400 * scale)


def test_equal_logits_leave_the_temperature_at_one():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = TemperatureScaling().fit(np.full((20, 3), 1 / 3), np.arange(20) % 3)
    assert float(layer.temperature) == 1.0


def test_twenty_samples():
    z, y = data.made(20)
    assert 0.5 < fitted(z, y).temperature < 8.0


@pytest.mark.parametrize("objective", ["brier", "ece"])
def test_other_objectives(objective):
    z, y = data.made()
    layer = fitted(z, y, objective=objective)
    grid = np.geomspace(0.5, 8, 40)

    def brier(t):
        return ((softmax(z / t, -1) - np.eye(5)[y]) ** 2).sum(-1).mean()

    score = brier if objective == "brier" else lambda t: ece(softmax(z / t, -1), y)
    assert score(layer.temperature) <= min(map(score, grid)) + 1e-12
    assert layer.temperature == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize(
    ("z", "y", "match"),
    [
        (SMALL * [np.nan, 1, 1], SMALL_LABELS, "y_pred holds NaN"),
        (SMALL + [np.inf, 0, 0], SMALL_LABELS, "y_pred holds NaN or infinity"),
        (SMALL, [0, 1, 3, 0], r"not in \[0, 3\)"),
        (SMALL, [0, 1, -1, 0], r"not in \[0, 3\).*ignore_class=-1"),
        (SMALL, [1, 2, 3, 1], "write y_true - 1"),
        (SMALL, [0, 0.5, 1, 0], "whole numbers"),
        (SMALL, [0, np.nan, 1, 0], "y_true holds NaN"),
        (SMALL, ["cat", "dog", "cat", "dog"], "holds strings: encode them"),
        (SMALL[:0], [], "is empty"),
        (SMALL.T, SMALL_LABELS, "`y_pred` looks transposed"),
        (SMALL_LABELS, SMALL, "numbers of classes"),
        (100 * softmax(SMALL, -1), SMALL_LABELS, "neither probabilities"),
        (np.ones(4), SMALL_LABELS, r"write logits\[:, None\]"),
        (SMALL, [1, 1, 1, 1], "at least two classes.*class 1 only"),
        (SMALL, np.eye(3)[[1, 1, 1, 1]], "at least two classes.*class 1 only"),
        (SMALL, 2 * np.eye(3)[SMALL_LABELS], "soft labels are not in"),
        (SMALL[:1], [0], "at least 2 samples"),
        (SMALL, [0, 1], "must have the same length"),
        (SMALL[0], [0, 1], "whole numbers.*say from_logits=True"),
    ],
)
def test_what_is_wrong_is_said(z, y, match):
    with pytest.raises(ValueError, match=match):
        fitted(z, y)


def test_wrong_weights_and_arguments():
    with pytest.raises(ValueError, match="holds negative weights"):
        fitted(SMALL, SMALL_LABELS, [1, 1, -1, 1])
    with pytest.raises(ValueError, match="shape of the samples"):
        fitted(SMALL, SMALL_LABELS, [[1, 1]] * 4)
    with pytest.raises(ValueError, match="must have the same length"):
        fitted(SMALL, SMALL_LABELS, [1, 1])
    with pytest.raises(ValueError, match="at least 2 samples of positive weight"):
        fitted(SMALL, SMALL_LABELS, [1, 0, 0, 0])
    with pytest.raises(ValueError, match="these are logits; use from_logits=True"):
        fitted(SMALL, SMALL_LABELS, from_logits=False)
    with pytest.raises(ValueError, match="`objective` must be one of"):
        TemperatureScaling("accuracy")
    with pytest.raises(ValueError, match=r"`bounds\[1\]` must be"):
        TemperatureScaling(bounds=(2, 1))


def test_before_fit():
    with pytest.raises(ValueError, match="has not been fitted"):
        TemperatureScaling()(SMALL)
    with pytest.raises(ValueError, match="no temperature before fit"):
        _ = TemperatureScaling().temperature


@pytest.mark.parametrize("call", ["predict", "predict_on_batch", "__call__"])
def test_a_model_before_fit(call):
    """Also on JAX, where a compiled step sees no value; and it can be fitted then."""
    layer = TemperatureScaling()
    dense = keras.layers.Dense(3, kernel_initializer="identity")
    model = keras.Sequential([keras.Input((3,)), dense, layer])
    with pytest.raises(ValueError, match="has not been fitted"):
        getattr(model, call)(SMALL.astype("float32"))
    layer.fit(SMALL, SMALL_LABELS)
    p = softmax(SMALL / layer.temperature, -1)
    np.testing.assert_allclose(model.predict(SMALL, verbose=0), p, atol=1e-6)
    other = keras.models.clone_model(model)
    other.compile(loss="sparse_categorical_crossentropy")
    for call in (other.fit, other.evaluate):
        with pytest.raises(ValueError, match="has not been fitted"):
            call(SMALL, np.array(SMALL_LABELS), verbose=0)
    other.set_weights(model.get_weights())
    np.testing.assert_allclose(other.predict(SMALL, verbose=0), p, atol=1e-6)


def test_extreme_logits_stay_finite():
    z, y = data.made(200)
    layer = fitted(1e4 * z, y)
    assert layer.temperature == pytest.approx(1e4 * fitted(z, y).temperature, rel=1e-9)
    found = convert_to_numpy(layer(np.array([[1e4, -1e4, 0, 0, 0]])))
    assert np.isfinite(found).all()


def test_probabilities_of_probabilities_are_refused():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 60)
    layer = TemperatureScaling().fit(p, rng.integers(0, 3, 60))
    with pytest.raises(ValueError, match="call the calibrator on them instead"):
        layer.probabilities(p)
    found = layer.probabilities(np.log(p))
    np.testing.assert_allclose(found, convert_to_numpy(layer(p)), atol=1e-5)
