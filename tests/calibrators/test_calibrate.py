"""Models and what `calibrate` makes of them."""

import importlib
import warnings
from typing import get_args

import keras
import numpy as np
import pytest
from scipy.special import softmax

import keras_calib
from keras_calib import TemperatureScaling, calibrate, calibrators
from keras_calib.calibrators.methods import METHODS, Method
from tests.backends import BACKEND, not_on_jax, tensorflow_only
from tests.calibrators import data

Z, Y = data.made(600, 4)
X = Z.astype("float32")


def model(activation=None, k=4, shape=(4,)):
    """The identity, and then an activation."""
    inputs = keras.Input(shape, name="features")
    dense = keras.layers.Dense(k, use_bias=False, activation=activation)
    net = keras.Model(inputs, dense(inputs), name="net")
    dense.kernel.assign(np.eye(4)[:, :k])
    return net


@pytest.fixture(scope="module")
def t():
    """The best temperature."""
    return TemperatureScaling(dtype="float64").fit(X.astype("float64"), Y).temperature


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_the_figures_and_the_argmax(activation, t):
    net = model(activation)
    before = [w.copy() for w in net.get_weights()]
    calibrated = calibrate(net, X, Y, verbose=0)
    assert calibrated.layers[-1].temperature == pytest.approx(t, rel=1e-6)
    p = calibrated.predict(X, verbose=0)
    np.testing.assert_allclose(p, softmax(X / t, -1), atol=1e-6)
    assert (p.argmax(-1) == X.argmax(-1)).all()
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert net.layers[0].name == "features"
    assert calibrated.inputs[0].name == "features"
    report = calibrated.calibration_report
    assert report.after["nll"] < report.before["nll"]
    assert report.after["ece"] < report.before["ece"]


@not_on_jax
def test_extreme_logits_behind_a_softmax_are_not_lost(t):
    """Of which the probabilities are all 0 or 1."""
    net = model("softmax")
    net.set_weights([1e3 * np.eye(4)])
    calibrated = calibrate(
        net, X, Y, TemperatureScaling(bounds=(1, 1e5), from_logits=False), verbose=0
    )
    p = calibrated.predict(X, verbose=0)
    np.testing.assert_allclose(p, softmax(X / t, -1), atol=2e-5)


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return X[100 * i : 100 * i + 100], Y[100 * i : 100 * i + 100]


def dataset(batch_size):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(batch_size)


def loader():
    data = pytest.importorskip("torch.utils.data")
    rows = data.TensorDataset(*map(data.dataset.Tensor, (X, Y)))
    return data.DataLoader(rows, batch_size=128)


@pytest.mark.parametrize(
    "batches",
    [
        lambda: dataset(128),
        loader,
        lambda: Sequence(),
        lambda: [(X[:300], Y[:300]), (X[300:], Y[300:])],
        lambda: ((X[i::2], Y[i::2], np.ones(300)) for i in range(2)),
    ],
    ids=["tf.data", "DataLoader", "PyDataset", "list", "generator"],
)
def test_batches(batches, t):
    calibrated = calibrate(model("softmax"), batches(), verbose=0)
    assert calibrated.layers[-1].temperature == pytest.approx(t, rel=1e-6)


def test_the_original_in_other_forms(t):
    """Sequential, and a subclass that has never been called."""
    sequential = keras.Sequential(
        [keras.Input((4,)), keras.layers.Activation("softmax")]
    )

    class Net(keras.Model):
        def call(self, x):
            return keras.ops.softmax(x["a"] + x["b"])

    found = calibrate(sequential, X, Y, verbose=0)
    assert found.layers[-1].temperature == pytest.approx(t, rel=1e-6)
    found = calibrate(Net(), {"a": X - 1, "b": np.ones_like(X)}, Y, verbose=0)
    assert found.layers[-1].temperature == pytest.approx(t, rel=1e-5)
    p = found.predict({"a": X - 1, "b": np.ones_like(X)}, verbose=0)
    np.testing.assert_allclose(p, softmax(X / t, -1), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_every_method_saves_and_loads(method, activation, tmp_path):
    calibrated = calibrate(model(activation), X, Y, method, verbose=0)
    p = calibrated.predict(X[:50], verbose=0)
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-6)
    calibrated.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(X[:50], verbose=0), p, atol=1e-7)
    # Elsewhere than at the samples, which are the ends of steps.
    z = data.made(50, 4, seed=1)[0].astype("float32")
    p = calibrated.predict(z, verbose=0)
    z = z if activation is None else np.log(softmax(z.astype("float64"), -1))
    found = calibrated.layers[-1].probabilities(z)
    np.testing.assert_allclose(found, p, atol=1e-5)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_output(activation):
    y = (X[:, 0] / 2 + np.random.default_rng(0).logistic(size=len(X)) > 0).astype(int)
    found = calibrate(model(activation, 1), X, y, verbose=0)
    layer = TemperatureScaling(dtype="float64").fit(X[:, :1].astype("float64"), y)
    assert found.layers[-1].temperature == pytest.approx(layer.temperature, rel=1e-6)
    p = found.predict(X, verbose=0)
    # Of a sigmoid JAX gives no logit: the last digit of p is much of 1 - p.
    atol = 1e-5 if activation and BACKEND == "jax" else 1e-6
    np.testing.assert_allclose(
        p, 1 / (1 + np.exp(-X[:, :1] / layer.temperature)), atol=atol
    )
    found = calibrate(model(activation, 1), X, y[:, None], "isotonic", verbose=0)
    assert found.predict(X, verbose=0).shape == (600, 1)


def test_tokens_with_a_mask_and_images_with_an_ignored_class():
    ids = np.tile(np.arange(1, 6), (40, 2))
    ids[:, 7:] = 0
    y = np.random.default_rng(0).integers(0, 3, ids.shape)
    y[:, ::2] = ids[:, ::2] % 3
    inputs = keras.Input((10,), dtype="int32")
    hidden = keras.layers.Embedding(6, 3, mask_zero=True)
    net = keras.Model(inputs, hidden(inputs))
    table = 4 * np.eye(3)[np.arange(6) % 3]
    hidden.embeddings.assign(table)
    found = calibrate(net, ids, y, from_logits=True, verbose=0)
    found = found.layers[-1].temperature
    kept = (
        TemperatureScaling(from_logits=True)
        .fit(table[ids[:, :7]], y[:, :7])
        .temperature
    )
    assert found == pytest.approx(kept, rel=1e-6)
    images, labels = X.reshape(6, 10, 10, 4), Y.reshape(6, 10, 10).copy()
    labels[0] = 255
    net = model(shape=(10, 10, 4))
    found = calibrate(net, images, labels, ignore_class=255, verbose=0)
    kept = TemperatureScaling().fit(X[100:], Y[100:]).temperature
    assert found.layers[-1].temperature == pytest.approx(kept, rel=1e-6)
    assert found.predict(images, verbose=0).shape == (6, 10, 10, 4)


def test_mixed_precision_gives_float32():
    inputs = keras.Input((4,))
    outputs = keras.layers.Softmax(dtype="mixed_bfloat16")(inputs)
    net = keras.Model(inputs, outputs)
    found = calibrate(net, X, Y, verbose=0)
    p = found.predict(X, verbose=0)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-6)


@tensorflow_only
@pytest.mark.parametrize("inside", [False, True])
def test_under_a_strategy(inside, t):
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    if len(tf.config.list_logical_devices("CPU")) > 1:
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        net = model("softmax")
        if inside:
            found = calibrate(net, X, Y, verbose=0)
    if not inside:
        found = calibrate(net, X, Y, verbose=0)
    np.testing.assert_allclose(
        found.predict(X, verbose=0), softmax(X / t, -1), atol=1e-6
    )
    assert found.layers[-1].temperature == pytest.approx(t, rel=1e-6)


def test_weights_of_samples():
    w = np.arange(600) % 3
    found = calibrate(model(), X, Y, sample_weight=w, verbose=0)
    expected = TemperatureScaling().fit(X, Y, w).temperature
    assert found.layers[-1].temperature == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_auto_takes_the_best_on_held_out_folds(capsys):
    z, y = data.made(3000, 3)
    y = np.where(np.random.default_rng(1).uniform(size=len(y)) < 0.2, 0, y)
    order = np.argsort(y)  # sorted by class: the folds must not be
    net = keras.Sequential([keras.Input((3,)), keras.layers.Activation("linear")])
    x = z[order].astype("float32")
    found = calibrate(net, x, y[order], "auto")
    report = found.calibration_report
    assert set(report.held_out) == {"uncalibrated", *METHODS}
    assert report.method == min(report.held_out, key=report.held_out.get)
    assert report.held_out[report.method] < report.held_out["temperature"]
    printed = capsys.readouterr().out
    assert "held-out NLL" in printed
    assert str(report) in printed


@pytest.mark.slow
def test_auto_leaves_a_calibrated_model_about_as_it_is():
    z, y = data.made(3000, 3, temperature=1.0)
    net = keras.Sequential([keras.Input((3,)), keras.layers.Activation("linear")])
    report = calibrate(net, z, y, "auto", verbose=0).calibration_report
    assert report.after["nll"] <= report.before["nll"]
    assert report.held_out[report.method] <= report.held_out["uncalibrated"]


def test_where_nothing_beats_the_model(monkeypatch, t):
    """Its temperature is 1."""

    class Worse(TemperatureScaling):
        def __init__(self, **kwargs):
            super().__init__(bounds=(5, 6), **kwargs)

    module = importlib.import_module("keras_calib.calibrators.calibrate")
    monkeypatch.setattr(module, "candidates", lambda num_classes: {"worse": Worse})
    net = model()
    net.set_weights([np.eye(4) / t])
    with pytest.warns(UserWarning):
        found = calibrate(net, X, Y, "auto", verbose=0)
    assert found.calibration_report.method == "uncalibrated"
    assert found.layers[-1].temperature == 1.0


def test_the_methods_are_those_that_are_typed():
    assert get_args(Method) == (*METHODS, "auto")


def test_the_report_as_html():
    before, after = {"nll": 0.5, "ece": 0.25}, {"nll": 0.4, "ece": 0.125}
    report = calibrators.CalibrationReport(
        "A<b>&c", before, after, {"uncalibrated": 0.5, "A<b>&c": 0.45}
    )
    page = report._repr_html_()
    assert page.count("<table>") == page.count("</table>") == 2
    assert (
        "<tr><td>A&lt;b&gt;&amp;c, in-sample</td><td>0.40000</td><td></td>"
        "<td>0.12500</td></tr>" in page
    )
    assert page.index("0.45000") < page.rindex("0.50000")
    assert "cross-validated" not in page


def test_what_is_wrong_is_said():
    net = model("softmax")
    with pytest.raises(ValueError, match="`method` must be one of"):
        calibrate(net, X, Y, "temprature")
    with pytest.raises(ValueError, match="labels are missing"):
        calibrate(net, X, Y, test=(X,), verbose=0)
    with pytest.raises(ValueError, match="the data must be arrays with labels, a data"):
        calibrate(net, X, Y, test=5, verbose=0)
    with pytest.raises(ValueError, match="labels are missing"):
        calibrate(net, X, verbose=0)
    with pytest.raises(ValueError, match="probabilities.*from_logits=True"):
        calibrate(net, X, Y, from_logits=True, verbose=0)
    with pytest.raises(ValueError, match="probabilities.*from_logits=True"):
        calibrate(net, X, Y, TemperatureScaling(from_logits=True), verbose=0)
    with pytest.raises(ValueError, match="the same length"):
        calibrate(net, X, Y[:-1], verbose=0)
    with pytest.raises(ValueError, match=r"the same length.*shapes .*\(\)"):
        calibrate(net, X, 1, verbose=0)
    for x in (None, np.where(X > 2, "?", X.astype(object))):
        with pytest.raises(ValueError, match="`x` (must be an array|holds strings)"):
            calibrate(net, x, Y, verbose=0)
    with pytest.raises(ValueError, match="`x` has masked entries"):
        calibrate(net, np.ma.masked_array(X, X > 2), Y, verbose=0)
    with pytest.raises(ValueError, match="sample_weight holds NaN"):
        calibrate(net, X, Y, sample_weight=np.where(Y, 1, np.nan), verbose=0)
    for head in (None, "softmax"):
        with pytest.raises(ValueError, match="must count|needs at least 2 samples"):
            calibrate(model(head), X, Y, sample_weight=0 * Y, verbose=0)
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        calibrate(model(), np.where(X > 2, np.nan, X), Y, verbose=0)
    for argument in ({"folds": 1}, {"batch_size": 0.5}, {"ignore_class": 1.5}):
        with pytest.raises(ValueError, match=f"`{next(iter(argument))}` must be"):
            calibrate(net, X, Y, verbose=0, **argument)
    two = keras.Model(net.inputs, [net.outputs[0], net.outputs[0]])
    with pytest.raises(ValueError, match="model with one output is needed"):
        calibrate(two, X, Y, verbose=0)


def test_lists_are_arrays(t):
    w = np.arange(600) % 3
    expected = calibrate(model(), X, Y, sample_weight=w, verbose=0)
    for x, y, weight in (
        (X.tolist(), Y.tolist(), w.tolist()),
        (X, np.eye(4)[Y].tolist(), tuple(w)),
        (X.astype(object), Y.astype(object), w.astype(object)),
    ):
        found = calibrate(model(), x, y, sample_weight=weight, verbose=0)
        assert found.layers[-1].temperature == expected.layers[-1].temperature
    batches = [(X[i::2], Y[i::2].tolist()) for i in range(2)]
    found = calibrate(model(), batches, verbose=0)
    assert found.layers[-1].temperature == pytest.approx(t, rel=1e-6)
    with pytest.raises(ValueError, match="`y` holds strings"):
        calibrate(model(), X, ["cat", "dog"] * 300, verbose=0)


@pytest.mark.parametrize("dtype", [str, object])
def test_strings_as_inputs(dtype):
    words = np.array([["cat"], ["dog"]], dtype)[Y % 2]
    if BACKEND != "tensorflow":
        with pytest.raises(ValueError, match="only models on TensorFlow take"):
            calibrate(model(), words, Y % 2, verbose=0)
        return
    inputs = keras.Input((1,), dtype="string")
    lookup = keras.layers.StringLookup(
        vocabulary=["cat", "dog"], num_oov_indices=0, output_mode="multi_hot"
    )
    net = keras.Model(inputs, 5.0 * keras.ops.cast(lookup(inputs), "float32") - 1.0)
    labels = np.where(np.arange(600) % 9 == 0, 1 - Y % 2, Y % 2)
    assert calibrate(net, words, labels, verbose=0).layers[-1].temperature > 1.0


@pytest.mark.parametrize("wrong", [0, 12])
def test_training_data_are_recognized(wrong):
    """There a model is right nearly always, and more often than it says."""
    y = X.argmax(-1)
    y[:wrong] = (y[:wrong] + 1) % 4
    with pytest.warns(UserWarning, match="look like training data"):
        calibrate(model(), X / 2, y, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        calibrate(model(), X, Y, verbose=0)


@pytest.mark.parametrize("method", ["matrix", "isotonic"])
def test_the_cross_validated_row_speaks_for_new_samples(method, capsys):
    z, y = data.made(4000, 8)
    net = keras.Sequential([keras.Input((8,)), keras.layers.Activation("linear")])
    found = calibrate(net, z[:400], y[:400], method)
    report = found.calibration_report
    p = found.predict(z[400:], verbose=0)
    new = -np.log(p[np.arange(3600), y[400:]]).mean()
    assert report.after["nll"] < report.cross_validated["nll"]
    assert abs(report.cross_validated["nll"] - new) < abs(report.after["nll"] - new)
    printed = capsys.readouterr().out
    assert f"{method}, in-sample" in printed
    assert f"{method}, cross-validated" in printed


def test_a_given_calibrator_is_cross_validated_in_copies():
    layer = calibrators.IsotonicCalibration()
    found = calibrate(model(), X, Y, layer, verbose=0)
    report = found.calibration_report
    assert report.method == "IsotonicCalibration"
    assert report.after["nll"] < report.cross_validated["nll"]
    assert found.layers[-1] is layer
    again = calibrate(model(), X, Y, layer, verbose=0).calibration_report
    assert again == report


def test_the_report_is_saved_with_the_model(tmp_path):
    found = calibrate(model(), X, Y, verbose=0)
    found.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.calibration_report == found.calibration_report
    assert str(loaded.calibration_report) == str(found.calibration_report)
    loaded.save(tmp_path / "again.keras")
    clone = keras.models.clone_model(loaded)
    clone.set_weights(loaded.get_weights())
    np.testing.assert_array_equal(
        clone.predict(X, verbose=0), found.predict(X, verbose=0)
    )


@pytest.mark.parametrize("k", [2, 3])
def test_a_sigmoid_of_several_labels_is_refused(k):
    net = model("sigmoid", k)
    with pytest.raises(ValueError, match="sigmoid|sum to 1"):
        calibrate(net, X, Y % k, verbose=0)


def test_an_endless_dataset_is_refused():
    with pytest.raises(ValueError, match="endless dataset"):
        calibrate(model(), dataset(10).repeat(), verbose=0)


def test_it_is_on_the_face():
    assert keras_calib.calibrate is calibrators.calibrate
