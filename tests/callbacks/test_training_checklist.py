"""Each finding: a fit that calls for it, and one that does not."""

import functools
import json
import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import ExpectedCalibrationError, GammaBCE, GammaCE, PolyLoss
from keras_calib.callbacks import (
    GammaScheduler,
    ReliabilityDiagramLogger,
    TrainingChecklist,
    linear,
)
from tests.backends import tensorflow_only
from tests.callbacks.tools import CountingGammaCE


def _samples():
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 600)
    return (rng.normal(size=(600, 3)) + 2.0 * np.eye(3)[y]).astype("float32"), y


X, Y = _samples()
TRAIN, HELD_OUT = (X[:300], Y[:300]), (X[300:], Y[300:])
NO_LABEL = X[300:], np.zeros(300, int)


class TripledGammaCE(GammaCE):
    """A loss whose gradient is not gamma-cross-entropy's."""

    def weight(self, log_p, p, q):
        return 3.0 * super().weight(log_p, p, q)


def compiled(loss=None, activation=None, rate=0.5, kernel="zeros", **kwargs):
    head = keras.layers.Dense(3, activation, kernel_initializer=kernel)
    model = keras.Sequential([keras.Input((3,)), head])
    loss = GammaCE(0.1, from_logits=True) if loss is None else loss
    model.compile(keras.optimizers.SGD(rate), loss, **kwargs)
    return model


def checked(model, data=HELD_OUT, *callbacks, train=TRAIN, **kwargs):
    """Fits, and returns the report."""
    checklist = TrainingChecklist(data, verbose=0)
    kwargs = {"epochs": 3, "verbose": 0, "shuffle": False, **kwargs}
    model.fit(*train, callbacks=[*callbacks, checklist], **kwargs)
    return checklist.report()


def verdicts(report):
    return {name: found["verdict"] for name, found in report["checks"].items()}


@pytest.mark.parametrize(
    ("loss", "activation", "gamma"),
    [
        (GammaCE(0.01, from_logits=True), None, "ok"),
        (GammaCE(0.01), "softmax", "ok"),
        ("sparse_categorical_crossentropy", "softmax", "not checked"),
        (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            None,
            "not checked",
        ),
    ],
)
def test_a_fit_in_which_all_is_well(loss, activation, gamma):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ece = ExpectedCalibrationError(from_logits=activation is None)
        report = checked(compiled(loss, activation, metrics=[ece]), epochs=10)
    expected = dict.fromkeys(report["checks"], "ok")
    assert verdicts(report) == {**expected, "gamma": gamma}
    assert [row["epoch"] for row in report["epochs"]] == list(range(11))


def test_the_figures_are_those_of_the_model():
    model = compiled()
    report = checked(model)
    last = report["epochs"][-1]
    z = model.predict(HELD_OUT[0], verbose=0).astype("float64")
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    true = p[np.arange(300), HELD_OUT[1]]
    assert last["negative_log_likelihood"] == pytest.approx(-np.log(true).mean(), 1e-5)
    hit = p.argmax(-1) == HELD_OUT[1]
    assert last["accuracy"] == pytest.approx(hit.mean(), abs=1e-6)
    assert last["gap"] == pytest.approx(p.max(-1).mean() - hit.mean(), abs=1e-6)
    # w (1 - p), over the first batch.
    weight = true / (0.1 + 0.9 * true)
    expected = (weight * (1 - true))[:256].max()
    assert last["gradient"] == pytest.approx(expected, rel=1e-4)
    assert last["gradient_bound"] == pytest.approx(0.577215, abs=1e-6)
    assert sum(report["bins"]["weight"]) == 300


def test_the_report_is_strict_json():
    report = checked(compiled(rate=1e38), epochs=2)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_summary_is_printed(capsys):
    checklist = TrainingChecklist(HELD_OUT)
    compiled().fit(*TRAIN, epochs=2, verbose=0, callbacks=[checklist])
    printed = capsys.readouterr().out
    assert printed.strip() == checklist.summary()
    assert "Training checklist, 2 epochs\n  ok           labels" in printed


@pytest.mark.parametrize(
    ("loss", "activation", "match"),
    [
        (GammaCE(0.1), None, "these are logits; use from_logits=True"),
        (GammaCE(0.1, from_logits=True), "softmax", "holds probabilities"),
    ],
)
def test_from_logits_that_does_not_fit_is_warned_of_at_once(loss, activation, match):
    model = compiled(None, activation, kernel="glorot_uniform")
    # Beside the logits of a softmax the loss raises; a layer of one's own hides them.
    model.add(keras.layers.Rescaling(1.0))
    model.compile("sgd", loss)
    with pytest.warns(UserWarning, match=match):
        report = checked(model)
    assert verdicts(report)["labels"] == "warning"
    assert report["checks"]["gradient"]["text"] == "see labels"


def test_labels_out_of_range():
    with pytest.warns(UserWarning, match=r"labels are not in \[0, 3\)"):
        report = checked(compiled(), (HELD_OUT[0], HELD_OUT[1] + 1))
    assert verdicts(report)["labels"] == "warning"


@pytest.mark.parametrize("data", [HELD_OUT, None])
def test_a_gamma_at_which_training_stands_still(data):
    """The weight of a sample is 1 / (1 + 999 / 2) = 0.002 at gamma 0.5, K = 1000."""

    def wide(*callbacks):
        head = keras.layers.Dense(1000, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((3,)), head])
        loss = GammaCE(0.5, from_logits=True)
        model.compile("sgd", loss, metrics=[loss.gamma])
        return checked(model, data, *callbacks)

    with pytest.warns(UserWarning, match="may stand still"):
        assert verdicts(wide())["gamma"] == "warning"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        report = wide(GammaScheduler(linear(0.0, 0.5)))
    assert verdicts(report)["gamma"] == "ok"


def test_a_gradient_beyond_its_bound():
    found = checked(compiled(TripledGammaCE(0.1, from_logits=True)))["checks"]
    assert found["gradient"]["verdict"] == "warning"
    assert found["gradient"]["largest"] > found["gradient"]["bound"]


@pytest.mark.parametrize("floor", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
def test_the_bound_holds_and_is_tight(gamma, label_smoothing, floor):
    """Over every p of two classes; with floor or smoothing it is only above."""
    half = np.linspace(-20, 20, 40001) / 2
    x = np.stack([half, -half], -1).astype("float32")
    loss = GammaCE(
        gamma, floor=floor, label_smoothing=label_smoothing, from_logits=True
    )
    model = keras.Sequential([keras.Input((2,)), keras.layers.Activation("linear")])
    model.compile("sgd", loss)
    checklist = TrainingChecklist((x, np.zeros(len(x), int)), batch_size=len(x))
    checklist.set_model(model)
    checklist.on_train_batch_begin(0)
    row = checklist.report()["epochs"][0]
    assert row["gradient"] <= row["gradient_bound"] * (1 + 1e-6)
    if floor == label_smoothing == 0.0:
        assert row["gradient"] == pytest.approx(row["gradient_bound"], rel=1e-6)


def test_a_loss_of_no_known_bound_is_measured_only():
    found = checked(compiled(PolyLoss(1.0, from_logits=True)))["checks"]["gradient"]
    assert found["verdict"] == "not checked"
    assert 0 < found["largest"] < 2


def test_a_loss_that_does_not_fall():
    report = checked(compiled(rate=0.0))
    assert verdicts(report)["loss"] == "warning"
    assert "did not fall" in report["checks"]["loss"]["text"]
    assert verdicts(report)["likelihood"] == "warning"
    assert "never lower" in report["checks"]["likelihood"]["text"]


def test_a_loss_that_falls_and_rises():
    def rate(epoch):
        return 0.1 if epoch < 3 else -0.1

    schedule = keras.callbacks.LearningRateScheduler(rate)
    report = checked(compiled(), HELD_OUT, schedule, epochs=7)
    assert verdicts(report)["loss"] == "warning"
    assert report["checks"]["loss"]["least_at"] in (3, 4)
    assert verdicts(report)["likelihood"] == "warning"
    assert "stop earlier" in report["checks"]["likelihood"]["text"]


def test_nan_is_noticed():
    x = np.where(np.arange(300)[:, None] == 299, np.nan, X[:300])
    with pytest.warns(UserWarning, match="the loss is nan in epoch 1"):
        report = checked(compiled(), train=(x, Y[:300]))
    for name in ("loss", "gradient", "likelihood", "calibration"):
        assert verdicts(report)[name] == "warning", name
    assert report["checks"]["loss"]["epoch"] == 1


def test_losses_of_two_gammas_are_not_compared():
    loss = GammaCE(0.1, from_logits=True)
    model = compiled(loss, metrics=[loss.gamma])
    report = checked(model, HELD_OUT, GammaScheduler(linear(0.0, 0.5)))
    assert verdicts(report)["loss"] == "not checked"
    assert "gamma moved from 0 to 0.5" in report["checks"]["loss"]["text"]
    assert [row["gamma"] for row in report["epochs"]] == [0.0, 0.0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("scale", "sign", "kind"), [(8, 1, "overconfident"), (0.1, -1, "underconfident")]
)
def test_calibration_that_is_off(scale, sign, kind):
    """Logits scaled: the accuracy stays, the confidence does not."""
    z = scale * X
    model = keras.Sequential([keras.Input((3,)), keras.layers.Activation("linear")])
    model.compile("sgd", GammaCE(0.0, from_logits=True))
    report = checked(model, (z[300:], Y[300:]), train=(z[:300], Y[:300]))
    found = report["checks"]["calibration"]
    assert found["verdict"] == "warning"
    assert f": {kind}" in found["text"]
    assert sign * found["gap"] > 0


def test_calibration_is_read_off_a_metric_that_was_validated():
    model = compiled(metrics=[ExpectedCalibrationError(from_logits=True)])
    report = checked(model, None, validation_data=HELD_OUT)
    assert verdicts(report) == {
        "labels": "not checked",
        "metrics": "ok",
        "gamma": "ok",
        "gradient": "not checked",
        "loss": "ok",
        "likelihood": "not checked",
        "calibration": "ok",
    }
    assert sum(report["bins"]["weight"]) == 300
    report = checked(model, None)
    assert verdicts(report)["calibration"] == "not checked"


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (GammaBCE(0.1), "GammaBCE is not a loss of one label out of K"),
        (
            "binary_crossentropy",
            "binary_crossentropy is not a loss of one label out of K",
        ),
        ("mse", "mean_squared_error does not say whether it takes logits"),
    ],
)
def test_what_cannot_be_checked_is_said(loss, why):
    one_hot = np.eye(3)[Y].astype("float32")
    report = checked(
        compiled(loss, "sigmoid"),
        (X[300:], one_hot[300:]),
        train=(X[:300], one_hot[:300]),
    )
    assert why in report["checks"]["labels"]["text"]
    assert verdicts(report)["calibration"] == "not checked"
    assert verdicts(report)["loss"] == "ok"


def test_a_report_before_the_fit_says_so():
    report = TrainingChecklist(HELD_OUT).report()
    assert set(verdicts(report).values()) == {"not checked"}
    assert report["epochs"] == []


def test_of_no_sample_nothing_is_said():
    report = checked(compiled(GammaCE(0.1, from_logits=True, ignore_class=0)), NO_LABEL)
    for name in ("gradient", "likelihood", "calibration"):
        assert report["checks"][name]["text"] == "no held-out sample counts"


@pytest.mark.parametrize(
    "callback",
    [TrainingChecklist, functools.partial(ReliabilityDiagramLogger, "logs")],
)
def test_data_that_can_be_read_only_once_is_refused(callback):
    with pytest.raises(ValueError, match="read after every epoch"):
        callback(data=iter([HELD_OUT]))


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"batch_size": 0}, "`batch_size` must be a whole number >= 1. Received: 0"),
        ({"verbose": 2}, "`verbose` must be one of 0, 1. Received: 2"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        TrainingChecklist(HELD_OUT, **kwargs)


def test_several_losses_are_not_checked():
    x = keras.Input((3,))
    outputs = {"a": keras.layers.Dense(3)(x), "b": keras.layers.Dense(3)(x)}
    model = keras.Model(x, outputs)
    model.compile("sgd", {key: GammaCE(0.1, from_logits=True) for key in outputs})
    targets = {"a": Y[:300], "b": Y[:300]}
    report = checked(model, (X[:300], targets), train=(X[:300], targets))
    assert "several losses" in report["checks"]["gradient"]["text"]
    assert verdicts(report)["loss"] == "ok"


def test_a_second_fit_has_a_report_of_its_own():
    model, checklist = compiled(), TrainingChecklist(HELD_OUT, verbose=0)
    for epochs in (2, 3):
        model.fit(*TRAIN, epochs=epochs, verbose=0, callbacks=[checklist])
        assert len(checklist.report()["epochs"]) == epochs + 1


@tensorflow_only
def test_nothing_is_traced_again():
    def traces(*callbacks):
        loss = CountingGammaCE(0.1, from_logits=True)
        compiled(loss).fit(*TRAIN, epochs=3, verbose=0, callbacks=list(callbacks))
        return loss.traces

    checklist = TrainingChecklist((ops.convert_to_tensor(X), Y), verbose=0)
    # Each gradient is one call of the loss, eagerly: before, and after each epoch.
    assert traces(checklist) == traces() + 4


def test_the_guide_runs(capsys):
    guide = Path(__file__).parents[2] / "docs" / "guides" / "training_checklist.md"
    text, names = guide.read_text(encoding="utf-8"), {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    assert "Training checklist, 5 epochs" in capsys.readouterr().out
    assert [f"| `{name}` |" in text for name in names["report"]["checks"]] == [True] * 7
