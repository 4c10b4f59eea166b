"""The diagram in TensorBoard is that of the streamed statistics."""

import glob
import io

import keras
import numpy as np
import pytest

from keras_calib import ExpectedCalibrationError
from keras_calib.callbacks import ReliabilityDiagramLogger
from keras_calib.metrics import CalibrationMetrics

pytest.importorskip("matplotlib")
tf = pytest.importorskip("tensorflow", reason="TensorFlow writes the event files")


def _samples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(64, 4)).astype("float32"), rng.integers(0, 3, 64)


X, Y = _samples()
HELD_OUT = X[:20], Y[:20]


def compiled(*metrics, **kwargs):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    model.compile(
        "sgd", "sparse_categorical_crossentropy", metrics=list(metrics), **kwargs
    )
    return model


def written(folder):
    """Scalars and images by tag, a value an epoch."""
    found = {}
    for file in sorted(glob.glob(f"{folder}/events*")):
        for record in tf.data.TFRecordDataset(file):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                image = value.HasField("image")
                content = value.image if image else value.simple_value
                found.setdefault(value.tag, []).append((event.step, content))
    return found


@pytest.mark.parametrize("nested", [False, True])
def test_it_reads_the_models_own_metric_and_predicts_nothing(
    nested, tmp_path, monkeypatch
):
    metric = CalibrationMetrics() if nested else ExpectedCalibrationError()
    model = compiled(metric)
    logger = ReliabilityDiagramLogger(tmp_path, HELD_OUT)
    monkeypatch.setattr(logger, "_measure", None)  # a second pass would fail
    history = model.fit(
        X, Y, validation_data=HELD_OUT, epochs=2, verbose=0, callbacks=[logger]
    ).history
    found = written(tmp_path)
    steps, eces = zip(*found["calibration/validation/ece"], strict=True)
    assert steps == (0, 1)
    np.testing.assert_allclose(eces, history["val_ece"], atol=1e-6)
    for name in ("gap", "overconfidence", "underconfidence", "brier"):
        assert len(found[f"calibration/validation/{name}"]) == 2
    images = found["calibration/validation/reliability"]
    assert len(images) == 2
    png = images[0][1]
    pixels = keras.utils.load_img(io.BytesIO(png.encoded_image_string))
    assert pixels.size == (png.width, png.height)
    # It has the two colors of the diagram's sides or dots, not white alone.
    assert (np.asarray(pixels) < 30).all(-1).sum() > 50


def test_without_validation_it_shows_the_training_batches(tmp_path):
    model = compiled(ExpectedCalibrationError())
    history = model.fit(
        X, Y, verbose=0, callbacks=[ReliabilityDiagramLogger(tmp_path)]
    ).history
    found = written(tmp_path)["calibration/train/ece"]
    assert found[0][1] == pytest.approx(history["ece"][0], abs=1e-6)


@pytest.mark.parametrize("kind", ["arrays", "weighted", "dataset", "list"])
def test_without_a_metric_it_predicts_the_data(kind, tmp_path):
    data = {
        "arrays": HELD_OUT,
        "weighted": (*HELD_OUT, np.ones(20)),
        "dataset": tf.data.Dataset.from_tensor_slices(HELD_OUT).batch(7),
        "list": [(X[:7], Y[:7]), (X[7:20], Y[7:20])],
    }[kind]
    model = compiled()
    logger = ReliabilityDiagramLogger(tmp_path, data, batch_size=6)
    model.fit(X, Y, verbose=0, callbacks=[logger])
    ece = ExpectedCalibrationError()
    ece.update_state(Y[:20], model.predict(X[:20], verbose=0))
    found = written(tmp_path)["calibration/data/ece"]
    assert found[0][1] == pytest.approx(float(ece.result()), abs=1e-6)


def test_data_are_measured_as_the_models_metric_measures(tmp_path):
    model = compiled(ExpectedCalibrationError(num_bins=4))
    model.fit(X, Y, verbose=0, callbacks=[ReliabilityDiagramLogger(tmp_path, HELD_OUT)])
    ece = ExpectedCalibrationError(num_bins=4)
    ece.update_state(Y[:20], model.predict(X[:20], verbose=0))
    found = written(tmp_path)["calibration/data/ece"]
    assert found[0][1] == pytest.approx(float(ece.result()), abs=1e-6)


@pytest.mark.parametrize("validation_freq", [2, [2, 4]])
def test_epochs_without_validation_show_their_training_batches(
    validation_freq, tmp_path
):
    compiled(ExpectedCalibrationError()).fit(
        X,
        Y,
        validation_data=HELD_OUT,
        validation_freq=validation_freq,
        epochs=4,
        verbose=0,
        callbacks=[ReliabilityDiagramLogger(tmp_path)],
    )
    found = written(tmp_path)
    assert [step for step, _ in found["calibration/train/ece"]] == [0, 2]
    assert [step for step, _ in found["calibration/validation/ece"]] == [1, 3]


def test_an_output_called_val_is_no_validation(tmp_path):
    """Its training logs begin with "val_"."""
    x = keras.Input((4,))
    names = ("val", "other")
    outputs = {k: keras.layers.Dense(3, "softmax", name=k)(x) for k in names}
    model = keras.Model(x, outputs)
    metrics = {k: [ExpectedCalibrationError()] for k in names}
    loss = dict.fromkeys(names, "sparse_categorical_crossentropy")
    model.compile("sgd", loss, metrics=metrics)
    logger = ReliabilityDiagramLogger(tmp_path)
    model.fit(X, dict.fromkeys(names, Y), verbose=0, callbacks=[logger])
    found = written(tmp_path)
    assert {tag.rsplit("/", 1)[0] for tag in found} == {
        "calibration/train/val",
        "calibration/train/other",
    }


def several(kind, metrics=True):
    """A model of two inputs and two outputs, and data for it."""
    keras.utils.set_random_seed(0)
    inputs = {k: keras.Input((4,), name=k) for k in ("left", "right")}
    both = keras.layers.Add()(list(inputs.values()))
    outputs = {
        "a": keras.layers.Dense(3, "softmax", name="a")(both),
        "b": keras.layers.Dense(3, "softmax", name="b")(inputs["left"]),
    }
    x, y = {"left": X, "right": X[::-1]}, {"a": Y, "b": (Y + 1) % 3}
    metrics = {"a": [ExpectedCalibrationError(5)], "b": ["accuracy"]} if metrics else {}
    if kind is list:
        inputs, outputs, x, y = (list(d.values()) for d in (inputs, outputs, x, y))
    model = keras.Model(inputs, outputs)
    loss = [*["sparse_categorical_crossentropy"] * 2]
    loss = dict(zip("ab", loss, strict=True)) if kind is dict else loss
    model.compile("sgd", loss, metrics=metrics or None)
    return model, x, y


@pytest.mark.parametrize("kind", [dict, list])
@pytest.mark.parametrize("weighted", [False, True])
def test_of_several_outputs_those_with_a_metric_are_measured(kind, weighted, tmp_path):
    model, x, y = several(kind)
    pack = (lambda x, y: (tuple(x), tuple(y))) if kind is list else lambda x, y: (x, y)
    data = pack(x, y) + (np.arange(64.0),) * weighted
    model.fit(x, y, verbose=0, callbacks=[ReliabilityDiagramLogger(tmp_path, data)])
    ece = ExpectedCalibrationError(5)
    p = keras.tree.flatten(model.predict(x, verbose=0))[0]
    ece.update_state(Y, p, np.arange(64.0) if weighted else None)
    found = written(tmp_path)
    assert not [tag for tag in found if "/b/" in tag]
    assert found["calibration/data/a/ece"][0][1] == pytest.approx(
        float(ece.result()), abs=1e-6
    )


def test_which_of_several_outputs_to_draw_must_be_said(tmp_path):
    model, x, y = several(dict, metrics=False)
    logger = ReliabilityDiagramLogger(tmp_path, (x, y))
    with pytest.raises(ValueError, match=r"which output.*metrics=.*\['a', 'b'\]"):
        model.fit(x, y, verbose=0, callbacks=[logger], epochs=10**6)


def test_a_dictionary_of_one_output(tmp_path):
    x = keras.Input((4,))
    model = keras.Model(x, {"a": keras.layers.Dense(3, "softmax", name="a")(x)})
    model.compile("sgd", {"a": "sparse_categorical_crossentropy"})
    logger = ReliabilityDiagramLogger(tmp_path, (X, {"a": Y}))
    model.fit(X, {"a": Y}, verbose=0, callbacks=[logger])
    ece = ExpectedCalibrationError()
    ece.update_state(Y, model.predict(X, verbose=0)["a"])
    found = written(tmp_path)["calibration/data/ece"]
    assert found[0][1] == pytest.approx(float(ece.result()), abs=1e-6)


def test_figures_that_are_nan_are_said_and_not_drawn(tmp_path):
    model = compiled(ExpectedCalibrationError())
    x = np.where(np.arange(64)[:, None] == 3, np.nan, X)
    with pytest.warns(UserWarning, match="train figures of epoch 1 are NaN"):
        model.fit(x, Y, verbose=0, callbacks=[ReliabilityDiagramLogger(tmp_path)])
    found = written(tmp_path)
    assert np.isnan(found["calibration/train/ece"][0][1])
    assert "calibration/train/reliability" not in found


def test_nothing_to_draw_is_said_at_once(tmp_path):
    model = compiled()
    with pytest.raises(ValueError, match="needs an ExpectedCalibrationError"):
        model.fit(X, Y, verbose=0, callbacks=[ReliabilityDiagramLogger(tmp_path)])


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="`batch_size` must be a whole number"):
        ReliabilityDiagramLogger(tmp_path, HELD_OUT, batch_size=2.5)


def test_tensorboard_reads_it(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    model = compiled(ExpectedCalibrationError())
    model.fit(X, Y, verbose=0, callbacks=[ReliabilityDiagramLogger(tmp_path)])
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    tags = events.Tags()
    assert "calibration/train/ece" in str(tags)
    assert "calibration/train/reliability" in str(tags)
