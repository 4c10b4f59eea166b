"""CalibrationMetrics: many metrics, one pass."""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import losses, metrics
from keras_calib.ops import class_batch
from tests.backends import not_on_torch, slow_on_jax
from tests.metrics.reference import TABLE, assert_close, data, figures


def several(**kwargs):
    rows = [row for row in TABLE.values() if row.kind == "classes"]
    return [row.make(**kwargs) for row in rows if not row.same_names]


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
    assert np.isnan(list(figures(together.result()).values())).all()


def test_the_batch_is_read_once(monkeypatch):
    reads = []

    class Counted(class_batch.ClassBatch):
        def __init__(self, *args, **kwargs):
            reads.append(args)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("keras_calib.ops.reader.ClassBatch", Counted)
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


@pytest.mark.slow
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


def test_the_metrics_given_stay_as_they_are():
    """Up to 0.1.0 the set wrote its own `from_logits` over theirs."""
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, 5, 50), 8 * rng.normal(size=(50, 5))
    brier = metrics.BrierScore(from_logits=True, ignore_class=3)
    together = metrics.CalibrationMetrics([brier])
    assert brier.from_logits and brier.ignore_class == 3
    assert together.from_logits and together.ignore_class == 3
    alone = metrics.BrierScore(from_logits=True, ignore_class=3)
    alone.update_state(y, z)
    together.update_state(y, z)
    assert_close(together.result(), {"brier_score": alone.result()})


@pytest.mark.parametrize(
    ("of_metrics", "of_set", "match"),
    [
        ([True, False], None, "from_logits=True of 'ece'.*from_logits=False of 'brier"),
        ([False, False], True, "from_logits=True of the set.*=False of 'ece'"),
        ([True, True], False, "from_logits=False of the set.*=True of 'ece'"),
    ],
)
def test_a_conflict_names_both(of_metrics, of_set, match):
    ece = metrics.ExpectedCalibrationError(from_logits=of_metrics[0])
    brier = metrics.BrierScore(from_logits=of_metrics[1])
    with pytest.raises(ValueError, match=match):
        metrics.CalibrationMetrics([ece, brier], from_logits=of_set)


def test_other_conflicts_and_agreement():
    ece = metrics.ExpectedCalibrationError(axis=1, ignore_class=0)
    with pytest.raises(ValueError, match="axis=-1 of the set, and axis=1 of 'ece'"):
        metrics.CalibrationMetrics([ece], axis=-1)
    with pytest.raises(ValueError, match="ignore_class=9 of the set, and ignore_"):
        metrics.CalibrationMetrics([ece], ignore_class=9)
    together = metrics.CalibrationMetrics([ece], axis=1, ignore_class=0)
    assert (together.axis, together.ignore_class) == (1, 0)


@slow_on_jax
def test_the_axis_counts_for_all():
    y, p, w = data("classes", n=120)
    y, p, w = y.reshape(4, 30), p.reshape(4, 30, 5), w.reshape(4, 30)
    first = metrics.CalibrationMetrics(several(axis=1))
    first.update_state(y, np.moveaxis(p, -1, 1), w)
    last = metrics.CalibrationMetrics(several())
    last.update_state(y, p, w)
    assert_close(first.result(), last.result())
    assert metrics.CalibrationMetrics(axis=1).metrics[0].axis == 1


def test_text_names_the_metrics():
    together = metrics.CalibrationMetrics([metrics.AURC(from_logits=True)])
    assert repr(together) == "CalibrationMetrics([AURC(from_logits=True)])"
    assert "MaximumCalibrationError(num_bins=15)" in repr(metrics.CalibrationMetrics())


def test_a_copy_keeps_the_state_of_every_metric():
    y, p, w = data("classes")
    together = metrics.CalibrationMetrics(several())
    together.update_state(y[:100], p[:100], w[:100])
    for again in (copy.deepcopy(together), pickle.loads(pickle.dumps(together))):
        assert figures(again.result()) == figures(together.result())
        again.update_state(y[100:], p[100:], w[100:])
        assert figures(again.result()) != figures(together.result())


def test_bad_members_are_refused():
    with pytest.raises(ValueError, match="different names. Received: .'ece', 'ece'"):
        metrics.CalibrationMetrics([metrics.ExpectedCalibrationError()] * 2)
    for other in (keras.metrics.Accuracy(), metrics.CalibrationMetrics()):
        with pytest.raises(ValueError, match="metrics of keras_calib.metrics"):
            metrics.CalibrationMetrics([other])
    with pytest.raises(ValueError, match="different names"):
        metrics.CalibrationMetrics([])
    for other in (metrics.AURC(), metrics.AURC, [metrics.AURC], "aurc"):
        with pytest.raises(ValueError, match=r"must be a list of metrics.*AURC\(\)\]"):
            metrics.CalibrationMetrics(other)


def test_figures_of_one_name_are_refused():
    parts = [
        metrics.BrierDecomposition(),
        metrics.BrierDecomposition("confidence", name="by_confidence"),
    ]
    together = metrics.CalibrationMetrics(parts)
    with pytest.raises(ValueError, match="name: .'brier_reliability'.*another set"):
        together.result()


@pytest.mark.parametrize(
    ("loss", "reading", "binary"),
    [
        (losses.GammaCE(0.1, from_logits=True, ignore_class=9), (True, 9, -1), False),
        (losses.GammaCE(0.1, axis=1), (False, None, 1), False),
        (losses.GammaBCE(0.1, from_logits=True), (True, None, -1), True),
        (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            (True, None, -1),
            False,
        ),
        (keras.losses.BinaryCrossentropy(from_logits=True), (True, None, -1), True),
    ],
)
def test_metrics_that_read_as_the_loss_does(loss, reading, binary):
    for chosen in (
        None,
        [metrics.AURC, metrics.ExpectedCalibrationError(7, "l2")],
    ):
        together = metrics.CalibrationMetrics.like(loss, chosen, dtype="float64")
        for one in [together, *together.metrics]:
            assert (one.from_logits, one.ignore_class, one.axis) == reading
        assert together.metrics[0].state_dtype == "float64"
        if chosen:
            assert (together.metrics[1].num_bins, together.metrics[1].norm) == (7, "l2")
        else:
            names = [m.name for m in together.metrics]
            assert names == ["multilabel_ece"] if binary else "brier_score" in names
        again = metrics.CalibrationMetrics.from_config(together.get_config())
        assert again.get_config() == together.get_config()


@pytest.mark.parametrize("loss", ["gamma_ce", losses.GammaCE, keras.losses.Huber()])
def test_a_loss_that_does_not_say_how_it_reads(loss):
    with pytest.raises(ValueError, match="`loss` must be a loss of classes or of bin"):
        metrics.CalibrationMetrics.like(loss)


@pytest.mark.parametrize("sequence", [tuple, list])
def test_predictions_may_be_tuples_and_lists(sequence):
    y, p = sequence([0, 1]), sequence([sequence([0.8, 0.2]), sequence([0.7, 0.3])])
    w = sequence([1.0, 3.0])
    for one in (metrics.BrierScore(), metrics.CalibrationMetrics()):
        one.update_state(y, p, w)
        found = figures(one.result())
        brier = found.get("brier_score", found.get(""))
        assert brier == pytest.approx((0.08 + 3 * 0.98) / 4)
    binary = metrics.BrierScore()
    binary.update_state(y, sequence([0.2, 0.3]))
    assert float(binary.result()) == pytest.approx((0.04 + 0.49) / 2)


def test_callbacks_ask_for_a_direction_where_there_is_none():
    for row in TABLE.values():
        assert row.make().direction == row.direction, row.name
    y, p, _ = data("classes", n=40)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
    loss = "sparse_categorical_crossentropy"
    model.compile("sgd", loss, metrics=several(), run_eagerly=True)
    model.evaluate(np.log(p), y, verbose=0)
    for metric in several():
        kept = keras.callbacks.EarlyStopping(metric.name)
        kept.set_model(model)
        if metric.direction is None:
            with pytest.raises(ValueError, match="Pass `mode="):
                kept._set_monitor_op()
        else:
            kept._set_monitor_op()
            better = ops.greater if metric.direction == "up" else ops.less
            assert kept.monitor_op == better


@pytest.mark.parametrize(
    "kind", [metrics.ExpectedCalibrationError, metrics.AccuracyAtCoverage]
)
def test_early_stopping_does_not_keep_an_epoch_of_nan(kind):
    metric = kind()
    y, p, _ = data("classes", n=40)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5, "softmax")])
    model.compile(
        keras.optimizers.SGD(0.0), "categorical_crossentropy", metrics=[metric]
    )
    good = model.get_weights()
    spoiled = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: model.set_weights(
            good if epoch == 0 else [np.full_like(w, np.nan) for w in good]
        )
    )
    stopped = keras.callbacks.EarlyStopping(
        f"val_{metric.name}", patience=1, restore_best_weights=True
    )
    history = model.fit(
        p,
        np.eye(5)[y],
        epochs=3,
        validation_data=(p, np.eye(5)[y]),
        verbose=0,
        callbacks=[spoiled, stopped],
    ).history[f"val_{metric.name}"]
    assert np.isfinite(history[0])
    assert np.isnan(history[1])
    np.testing.assert_array_equal(model.get_weights()[0], good[0])


class Named(metrics.CalibrationMetrics):
    def __init__(self, note=1, **kwargs):
        super().__init__(**kwargs)
        self.note = note


def test_a_subclass_may_have_arguments_of_its_own():
    original = Named(3, metrics=[metrics.BrierScore()])
    original.update_state([0], [[0.8, 0.2]])
    for made in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
        assert made.note == 3
        assert_close(made.result(), original.result(), 0.0)
        made.reset_state()
    assert not np.isnan(float(original.result()["brier_score"]))
