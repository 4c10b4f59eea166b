"""A metric or a head that reads predictions otherwise than the loss is found."""

import warnings

import keras
import numpy as np
import pytest

from keras_calib import (
    BinaryECE,
    BrierScore,
    ExpectedCalibrationError,
    GammaBCE,
    GammaCE,
    MultilabelECE,
    MultiTaskModel,
)
from keras_calib.callbacks import TrainingChecklist
from keras_calib.metrics import CalibrationMetrics

KCE = keras.losses.SparseCategoricalCrossentropy
METRICS = keras.metrics


def inputs():
    return np.random.default_rng(5).normal(size=(40, 3)).astype("float32")


def labels():
    return np.random.default_rng(6).integers(0, 3, 40)


def one_hot():
    return np.eye(3, dtype="float32")[labels()]


def bits():
    return np.random.default_rng(7).integers(0, 2, (40, 3)).astype("float32")


def report_of(model, y, data=None, **kwargs):
    checklist = TrainingChecklist(data, verbose=0, **kwargs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(inputs(), y, epochs=1, verbose=0, callbacks=[checklist])
    shown = [str(w.message) for w in caught if "TrainingChecklist" in str(w.message)]
    return checklist.report()["checks"], shown


def compiled(loss, activation, *metrics, units=3, hidden=False):
    """Returns a model; `hidden` hides the logits of its head, beside which fit raises.

    So does a layer of the user's own.
    """
    keras.utils.set_random_seed(0)
    head = keras.layers.Dense(units, activation)
    model = keras.Sequential([keras.Input((3,)), head])
    if hidden:
        model.add(keras.layers.Rescaling(1.0))
    model.compile("sgd", loss, metrics=list(metrics))
    return model


# Loss, activation of the head, labels, metric, what to write.
MISMATCHES = {
    "logits for probabilities": (
        GammaCE(0.1, from_logits=True),
        None,
        labels,
        ExpectedCalibrationError,
        r"'ece' has from_logits=False, .*ExpectedCalibrationError\(from_logits=True\)",
    ),
    "probabilities for logits": (
        GammaCE(0.1),
        "softmax",
        labels,
        lambda: BrierScore(from_logits=True),
        r"write BrierScore\(from_logits=False\)",
    ),
    "in a set": (
        GammaCE(0.1, from_logits=True),
        None,
        labels,
        CalibrationMetrics,
        r"'negative_log_likelihood' has from_logits=False",
    ),
    "keras's loss": (
        KCE(from_logits=True),
        None,
        labels,
        ExpectedCalibrationError,
        "has from_logits=False, the loss True",
    ),
    "keras's loss by name": (
        "sparse_categorical_crossentropy",
        "softmax",
        labels,
        lambda: ExpectedCalibrationError(from_logits=True),
        "has from_logits=True, the loss False",
    ),
    "keras's metric": (
        GammaCE(0.1, from_logits=True),
        None,
        labels,
        METRICS.SparseCategoricalCrossentropy,
        r"write SparseCategoricalCrossentropy\(from_logits=True\)",
    ),
    "auc": (
        GammaBCE(0.1, from_logits=True),
        None,
        bits,
        METRICS.AUC,
        r"write AUC\(from_logits=True\)",
    ),
    "accuracy of logits": (
        GammaBCE(0.1, from_logits=True),
        None,
        bits,
        METRICS.BinaryAccuracy,
        r"compares logits with 0.5: write BinaryAccuracy\(threshold=0.0\)",
    ),
    "ignored by the loss alone": (
        GammaCE(0.1, from_logits=True, ignore_class=-1),
        None,
        labels,
        lambda: ExpectedCalibrationError(from_logits=True),
        r"has ignore_class=None, the loss -1: write .*\(ignore_class=-1\)",
    ),
    "ignored by the metric alone": (
        GammaCE(0.1, from_logits=True),
        None,
        labels,
        lambda: ExpectedCalibrationError(from_logits=True, ignore_class=0),
        "has ignore_class=0, the loss None",
    ),
    "classes under a binary loss": (
        GammaBCE(0.1, from_logits=True),
        None,
        bits,
        lambda: ExpectedCalibrationError(from_logits=True),
        "reads one label out of K, but the loss binary labels",
    ),
    "accuracy of classes under a binary loss": (
        "binary_crossentropy",
        "sigmoid",
        bits,
        METRICS.CategoricalAccuracy,
        "reads one label out of K, but the loss binary labels",
    ),
    "binary labels under a loss of classes": (
        GammaCE(0.1, from_logits=True),
        None,
        one_hot,
        lambda: MultilabelECE(from_logits=True),
        "reads binary labels, but the loss one label out of K",
    ),
    "binary accuracy under a loss of classes": (
        "categorical_crossentropy",
        "softmax",
        one_hot,
        METRICS.BinaryAccuracy,
        "reads binary labels, but the loss one label out of K",
    ),
}


@pytest.mark.parametrize(
    ("loss", "activation", "y", "metric", "match"), MISMATCHES.values(), ids=MISMATCHES
)
def test_a_metric_that_reads_otherwise_is_a_warning_that_says_what_to_write(
    loss, activation, y, metric, match
):
    checks, shown = report_of(compiled(loss, activation, metric(), hidden=True), y())
    assert checks["metrics"]["verdict"] == "warning"
    with pytest.raises(AssertionError, match=match):
        raise AssertionError(checks["metrics"]["text"])
    assert sum(checks["metrics"]["text"] in text for text in shown) == 1


def test_the_axis_is_compared_where_it_matters():
    """Axis 1 of two is the last; of three it is not."""
    loss = GammaCE(0.1, from_logits=True)
    metric = ExpectedCalibrationError(from_logits=True, axis=1)
    checks, _ = report_of(compiled(loss, None, metric), labels())
    assert checks["metrics"]["verdict"] == "ok"
    head = keras.layers.Conv1D(3, 1)
    model = keras.Sequential([keras.Input((3, 1)), head])
    model.compile("sgd", loss, metrics=[metric])
    positions = np.random.default_rng(0).integers(0, 3, (40, 3))
    checks, _ = report_of(model, positions)
    text = checks["metrics"]["text"]
    assert "has axis=1, the loss -1: write ExpectedCalibrationError(axis=-1)" in text


@pytest.mark.parametrize(
    ("loss", "activation", "y", "metrics"),
    [
        (
            GammaCE(0.1, from_logits=True),
            None,
            labels,
            lambda: [
                ExpectedCalibrationError(from_logits=True),
                CalibrationMetrics(from_logits=True),
                "accuracy",
            ],
        ),
        (
            GammaCE(0.1, ignore_class=-1),
            "softmax",
            labels,
            lambda: [BrierScore(ignore_class=-1), METRICS.SparseCategoricalAccuracy()],
        ),
        (
            "binary_crossentropy",
            "sigmoid",
            bits,
            lambda: [MultilabelECE(), METRICS.AUC(), METRICS.BinaryAccuracy()],
        ),
        (
            GammaBCE(0.1, from_logits=True),
            None,
            bits,
            lambda: [
                MultilabelECE(from_logits=True),
                METRICS.BinaryAccuracy(threshold=0.0),
            ],
        ),
    ],
)
def test_metrics_that_read_as_the_loss_are_ok(loss, activation, y, metrics):
    checks, shown = report_of(compiled(loss, activation, *metrics()), y())
    assert checks["metrics"]["verdict"] == "ok"
    assert not shown


def test_a_loss_that_does_not_say_is_not_compared():
    ece = ExpectedCalibrationError(from_logits=True)
    model = compiled("mse", "softmax", ece, hidden=True)
    checks, _ = report_of(model, one_hot())
    assert checks["metrics"]["verdict"] == "not checked"
    checks, _ = report_of(model, one_hot(), from_logits=False)
    assert checks["metrics"]["verdict"] == "warning"


def two_outputs(kind=dict, task=None):
    x = keras.Input((3,))
    outputs = {
        "digit": keras.layers.Dense(3, name="digit")(x),
        "flag": keras.layers.Rescaling(1.0, name="flag")(
            keras.layers.Dense(1, "sigmoid")(x)
        ),
    }
    model = keras.Model(x, outputs if kind is dict else list(outputs.values()))
    if task:
        model = MultiTaskModel(model, dict.fromkeys(outputs, "classification"))
    return model


@pytest.mark.parametrize("kind", [dict, list])
@pytest.mark.parametrize("right", [True, False])
def test_each_output_is_compared_with_its_own_loss(kind, right):
    model = two_outputs(kind)
    losses = {"digit": GammaCE(0.1, from_logits=True), "flag": GammaBCE(0.1)}
    metrics = {
        "digit": [ExpectedCalibrationError(from_logits=right)],
        "flag": [BinaryECE(from_logits=not right)],
    }
    y = {"digit": labels(), "flag": bits()[:, :1]}
    if kind is list:
        losses, metrics, y = (list(d.values()) for d in (losses, metrics, y))
    model.compile("sgd", losses, metrics=metrics)
    checks, _ = report_of(model, y)
    found = checks["metrics"]
    if right:
        assert found["verdict"] == "ok"
    else:
        assert len(found["mismatches"]) == 2
        assert "metric 'ece' of output 'digit' has" in found["text"]
        assert "of output 'flag' has" in found["text"]


def test_a_task_is_compared_with_the_loss_it_was_given():
    model = two_outputs(task=True)
    losses = {"digit": GammaCE(0.1, from_logits=True), "flag": GammaBCE(0.1)}
    metrics = {"digit": [ExpectedCalibrationError()], "flag": [BinaryECE()]}
    model.compile("sgd", losses, metrics=metrics)
    checks, _ = report_of(model, {"digit": labels(), "flag": bits()[:, :1]})
    assert len(checks["metrics"]["mismatches"]) == 1


@pytest.mark.parametrize(
    ("loss", "activation", "y", "match"),
    [
        (GammaCE(0.1, from_logits=True), "softmax", labels, "write from_logits=False"),
        (GammaCE(0.1), None, labels, "write from_logits=True"),
        ("sparse_categorical_crossentropy", None, labels, "write from_logits=True"),
        (KCE(from_logits=True), "softmax", labels, "write from_logits=False"),
        (GammaBCE(0.1, from_logits=True), "sigmoid", bits, "write from_logits=False"),
        ("binary_crossentropy", None, bits, "write from_logits=True"),
    ],
)
def test_a_head_that_contradicts_the_loss_is_found_without_data(
    loss, activation, y, match
):
    try:
        checks, shown = report_of(compiled(loss, activation), y())
    except ValueError as error:  # a loss may refuse it when the step is traced
        assert "from_logits" in str(error)
        return
    assert checks["labels"]["verdict"] == "warning"
    assert match in checks["labels"]["text"]
    assert any(match in text for text in shown)


def test_a_head_inside_a_nested_model_is_found():
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    x = keras.Input((3,))
    model = keras.Model(x, inner(x))
    model.compile("sgd", GammaCE(0.1))
    try:
        checks, _ = report_of(model, labels())
    except ValueError as error:
        assert "from_logits" in str(error)
        return
    assert "write from_logits=True" in checks["labels"]["text"]


def test_an_unknown_head_is_left_to_the_data():
    shift = keras.layers.Rescaling(1.0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), shift])
    model.compile("sgd", GammaCE(0.1, from_logits=True))
    checks, shown = report_of(model, labels())
    assert checks["labels"]["verdict"] == "not checked"
    assert not shown


def test_classes_on_another_axis_are_measured_there():
    """The figures of channels first are those of channels last."""
    reports = []
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, (40, 2))
    x = rng.normal(size=(40, 2, 4)).astype("float32")
    for axis in (-1, 1):
        layers = [keras.Input((2, 4))] + [keras.layers.Permute((2, 1))] * (axis == 1)
        layers = [*layers, keras.layers.Activation("softmax" if axis == -1 else soft_1)]
        model = keras.Sequential(layers)
        model.compile("sgd", GammaCE(0.1, axis=axis))
        checklist = TrainingChecklist((x, y), verbose=0)
        checklist.set_model(model)
        checklist.on_train_batch_begin(0)
        reports.append(checklist.report())
    last, first = (report["epochs"][0] for report in reports)
    assert last == pytest.approx(first, rel=1e-5)
    assert reports[1]["checks"]["labels"]["verdict"] == "ok"


def soft_1(z):
    return keras.ops.softmax(z, 1)
