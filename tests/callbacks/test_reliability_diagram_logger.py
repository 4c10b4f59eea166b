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
    assert np.asarray(pixels).std() > 10


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
