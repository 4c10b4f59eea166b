"""CalibrationMetrics: many metrics, one pass."""

import keras
import numpy as np
import pytest

from keras_calib import metrics
from keras_calib.ops import class_batch
from tests.backends import not_on_torch, slow_on_jax
from tests.metrics.reference import TABLE, assert_close, data, figures

SEVERAL = [name for name, row in TABLE.items() if row.kind == "classes"]


def several():
    return [TABLE[name].make() for name in SEVERAL if name != "by_confidence"]


@slow_on_jax
def test_each_figure_is_that_of_the_metric_alone():
    y, p, w = data("classes")
    together = metrics.CalibrationMetrics(several())
    expected = {}
    for metric in several():
        metric.update_state(y, p, w)
        result = metric.result()
        expected |= result if isinstance(result, dict) else {metric.name: result}
    for part in np.split(np.arange(len(y)), [100]):
        together.update_state(y[part], p[part], w[part])
    assert_close(together.result(), expected, 2e-6)
    together.reset_state()
    assert set(figures(together.result()).values()) == {0.0}


def test_the_batch_is_read_once(monkeypatch):
    reads = []

    class Counted(class_batch.ClassBatch):
        def __init__(self, *args, **kwargs):
            reads.append(args)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("keras_calib.metrics.base.ClassBatch", Counted)
    monkeypatch.setattr("keras_calib.metrics.brier.ClassBatch", Counted)
    metrics.CalibrationMetrics().update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    assert len(reads) == 1


def test_logits_and_ignored_labels_count_for_all():
    y, p, _ = data("classes")
    y = np.where(np.arange(len(y)) % 3, y, 255)
    together = metrics.CalibrationMetrics(from_logits=True, ignore_class=255)
    together.update_state(y, np.log(p))
    alone = metrics.CalibrationMetrics()
    alone.update_state(y[y < 255], p[y < 255])
    assert_close(together.result(), alone.result(), 2e-6)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=not_on_torch)])
def test_names_in_logs_and_history(jit_compile, tmp_path):
    y, p, _ = data("classes", n=64)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5)])
    together = metrics.CalibrationMetrics(
        [
            metrics.ExpectedCalibrationError(10, from_logits=True),
            metrics.BrierScore(from_logits=True),
            metrics.BrierDecomposition(from_logits=True),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=[together, "accuracy"], jit_compile=jit_compile)
    history = model.fit(
        p, y, validation_data=(p, y), batch_size=20, verbose=0, epochs=2
    ).history
    for name in ("ece", "brier_score", "brier_reliability", "accuracy"):
        assert len(history[name]) == len(history[f"val_{name}"]) == 2
    ece = metrics.ExpectedCalibrationError(10, from_logits=True)
    ece.update_state(y, model.predict(p, verbose=0))
    assert history["val_ece"][-1] == pytest.approx(float(ece.result()), abs=2e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    found = loaded.evaluate(p, y, verbose=0, return_dict=True)
    assert found["ece"] == pytest.approx(history["val_ece"][-1], abs=2e-6)


def test_config_keeps_the_metrics_and_their_arguments():
    together = metrics.CalibrationMetrics(
        [
            metrics.ClasswiseECE(7, threshold=0.2, from_logits=True),
            metrics.BrierScore("mean", from_logits=True),
        ]
    )
    again = metrics.CalibrationMetrics.from_config(together.get_config())
    assert again.get_config() == together.get_config()
    assert again.metrics[0].threshold == 0.2
    assert again.metrics[1].class_reduction == "mean"


def test_binary_metrics_may_stand_beside_others():
    y, p, _ = data("binary")
    together = metrics.CalibrationMetrics(
        [
            metrics.BinaryECE(),
            metrics.BinaryECE("predicted_class", name="predicted"),
            metrics.BrierScore(),
        ]
    )
    together.update_state(y, p)
    for metric in (metrics.BinaryECE(), metrics.BrierScore()):
        metric.update_state(y, p)
        found = float(together.result()[metric.name])
        assert found == pytest.approx(float(metric.result()), abs=1e-6)


def test_bad_members_are_refused():
    with pytest.raises(ValueError, match="name of their own. Received: .'ece', 'ece'"):
        metrics.CalibrationMetrics([metrics.ExpectedCalibrationError()] * 2)
    for other in (keras.metrics.Accuracy(), metrics.CalibrationMetrics()):
        with pytest.raises(ValueError, match="metrics of keras_calib.metrics"):
            metrics.CalibrationMetrics([other])
    with pytest.raises(ValueError, match="name of their own"):
        metrics.CalibrationMetrics([])
