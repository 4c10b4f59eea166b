"""The report says what holds for new samples, and goes where the calibrator goes."""

import json

import keras
import matplotlib as mpl
import numpy as np
import pytest
from scipy.special import softmax

from keras_calib import BrierScore, TemperatureScaling, calibrate, calibrators
from keras_calib.calibrators.objectives import figures
from keras_calib.calibrators.samples import Samples
from tests.backends import tensorflow_only
from tests.calibrators import data

Z, Y = data.made(900, 4)
NAMES = ["nll", "brier", "ece"]


def linear():
    return keras.Sequential([keras.Input((4,)), keras.layers.Activation("linear")])


def reported(**arguments):
    return calibrate(linear(), Z[:600], Y[:600], verbose=0, **arguments)


@pytest.mark.parametrize("soft", [False, True])
def test_the_figures_and_their_intervals(soft):
    """By numpy, with weights that are counts."""
    w = np.random.default_rng(0).integers(1, 4, len(Y))
    p, t = softmax(Z, -1), np.eye(4)[Y]
    if soft:
        t = 0.8 * t + 0.05
    found, bins = figures(Samples.read(Z, t if soft else Y, w))
    losses = {
        "nll": -(t * np.log(p)).sum(-1),
        "brier": ((p - t) ** 2).sum(-1),
    }
    for name, loss in losses.items():
        each = np.repeat(loss, w)
        half = 1.96 * each.std() / np.sqrt(len(each))
        assert found[name] == pytest.approx(each.mean())
        assert found[f"{name}_low"] == pytest.approx(each.mean() - half)
        assert found[f"{name}_high"] == pytest.approx(each.mean() + half)
    assert bins.total == pytest.approx(w.sum())
    assert found["ece"] == bins.ece()
    assert (found["ece_low"], found["ece_high"]) == bins.ece_interval()


def test_brier_is_that_of_the_metric():
    metric = BrierScore(from_logits=True, dtype="float64")
    metric.update_state(Y, Z)
    found = figures(Samples.read(Z, Y))[0]["brier"]
    assert found == pytest.approx(float(metric.result()), rel=1e-6)


def test_an_interval_covers_the_figure_of_new_samples():
    z, y = data.made(40000, 4)
    truth = figures(Samples.read(z, y))[0]
    covered = {name: 0 for name in ("nll", "brier")}
    for rows in np.split(np.arange(40000), 200):
        found = figures(Samples.read(z[rows], y[rows]))[0]
        for name in covered:
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            covered[name] += low <= truth[name] <= high
    for name, count in covered.items():
        assert 0.9 <= count / 200 <= 0.99, name


def test_the_rows_are_labelled():
    report = reported(test=(Z[600:], Y[600:])).calibration_report
    lines = str(report).splitlines()
    assert [line[:35].strip() for line in lines] == [
        "",
        "before",
        "temperature, in-sample",
        "temperature, cross-validated",
        "before, test",
        "temperature, test",
    ]
    assert lines[0].split() == ["NLL", "Brier", "ECE"]
    rows = [report.before, report.after, report.cross_validated]
    rows += [report.test_before, report.test_after]
    for row, found in zip(lines[1:], rows, strict=True):
        for name in NAMES:
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            assert f"{found[name]:.5f} ({low:.3f}-{high:.3f})" in row


def test_the_test_samples_are_measured_as_they_are_served():
    found = reported(test=(Z[600:], Y[600:]))
    report = found.calibration_report
    p = found.predict(Z[600:], verbose=0).astype("float64")
    nll = -np.log(p[np.arange(300), Y[600:]]).mean()
    assert report.test_after["nll"] == pytest.approx(nll, rel=1e-6)
    before = -np.log(softmax(Z[600:], -1)[np.arange(300), Y[600:]]).mean()
    assert report.test_before["nll"] == pytest.approx(before, rel=1e-6)
    w = np.arange(300) % 2
    batches = [(Z[600:], Y[600:], w)]
    for test in (batches, batches[0]):
        weighted = reported(test=test).calibration_report
        kept = reported(test=(Z[601::2], Y[601::2])).calibration_report
        for name in NAMES:
            assert weighted.test_after[name] == pytest.approx(kept.test_after[name])
    # The calibrator does not see them.
    assert reported().calibration_report.after == report.after


def test_the_picture():
    mpl.use("agg")
    for test, titles in (
        (None, ["before", "cross-validated"]),
        ((Z[600:], Y[600:]), ["before, test", "calibrated, test"]),
    ):
        report = reported(test=test).calibration_report
        display = report.plot()
        assert [ax.get_title() for ax in display.ax_] == titles
        before, after = display.statistics.values()
        last = report.test_after or report.cross_validated
        assert after.ece() == pytest.approx(last["ece"])
        assert before.ece() > after.ece()


def test_the_report_goes_with_the_calibrator(tmp_path):
    found = reported()
    report = found.calibration_report
    assert found.layers[-1].report is report
    found.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.calibration_report == report
    inputs = keras.Input((4,))
    other = keras.Model(inputs, loaded.layers[-1](2.0 * inputs))
    other.save(tmp_path / "other.keras")
    other = keras.models.load_model(tmp_path / "other.keras")
    assert other.layers[-1].report == report
    # Another fit is not what the report is of.
    assert other.layers[-1].fit(Z, Y).report is None


@tensorflow_only
def test_the_report_goes_into_the_saved_model(tmp_path):
    from keras_calib.serving import export
    from keras_calib.serving.record import Record

    found = reported()
    folder = export(found, tmp_path / "calibrated")
    kept = calibrators.CalibrationReport(**json.loads(Record.read(folder).report))
    assert kept == found.calibration_report
    plain = export(linear(), tmp_path / "plain", from_logits=True)
    assert Record.read(plain).report == ""


def test_near_an_accuracy_of_1_a_temperature_below_1_warns():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 2000)
    z = 6.0 * np.eye(4)[y] + rng.normal(size=(2000, 4)) / 2
    y[:5] = (y[:5] + 1) % 4
    assert TemperatureScaling().fit(z / 1.5, y).temperature < 1
    with pytest.warns(UserWarning, match="look like training data"):
        calibrate(linear(), z / 1.5, y, verbose=0)
