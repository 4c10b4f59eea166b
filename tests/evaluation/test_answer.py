"""The answer reads well: groups, what is better, intervals, text, tables, pictures."""

import copy
import json
import pickle

import numpy as np
import pytest

import keras_calib
from keras_calib.evaluation.figures import FIGURES
from keras_calib.metrics import BinStatistics
from tests.backends import slow_on_jax
from tests.metrics.reference import data

Y, P, _ = data("classes", n=100)
FOUND = keras_calib.evaluate(Y, P, num_bins=10, coverage=0.5)
GROUPS = ["accuracy", "calibration", "proper scores", "selective prediction"]


def test_the_text_has_every_figure_in_its_group():
    first, *lines = str(FOUND).splitlines()
    assert first.split("  ")[0] == "100 samples, 5 classes, 10 bins"
    assert [line for line in lines if not line.startswith(" ")] == GROUPS
    rows = {line.split()[0]: line.split()[1:] for line in lines if line[0] == " "}
    assert rows.keys() == FOUND.keys() - {"ece_low", "ece_high"}
    for name, (value, *_) in rows.items():
        assert float(value) == pytest.approx(FOUND[name], abs=6e-5)
    assert rows["accuracy"][1:] == ["higher"]
    low, high = FOUND["ece_low"], FOUND["ece_high"]
    interval = ["95", "%:", f"{low:.4f}", "to", f"{high:.4f}"]
    assert rows["ece"][1:] == ["lower", "l1;", *interval]
    assert rows["negative_log_likelihood"][1:] == ["lower", "nats"]
    assert rows["calibration_gap"][0][0] in "+-"
    assert max(map(len, lines)) < 88


def test_one_of_a_kind_is_no_plural():
    one = keras_calib.evaluate([0], [[0.6, 0.4]], num_bins=1)
    assert str(one).startswith("1 sample, 2 classes, 1 bin ")
    label = keras_calib.evaluate([[0]], [[0.6]], multilabel=True)
    assert str(label).startswith("1 outcome of 1 label, 15 bins ")


def test_norms_are_in_the_names():
    s = FOUND.statistics
    assert FOUND["ece_l2"] == s.ece("l2")
    assert FOUND["ece_l2_debiased"] == s.debiased_ece()
    assert FOUND["equal_mass_ece_l2_debiased"] <= FOUND["ece_l2"] + 0.1


def test_what_is_better_is_what_the_metric_says():
    words = {"up": "higher", "down": "lower"}
    for figure in FIGURES:
        if isinstance(figure.source, type) and figure.source.direction:
            assert words[figure.source.direction] == figure.better, figure


def test_a_notebook_shows_the_same_table():
    table = FOUND._repr_html_()
    assert table.count("<tr>") == str(FOUND).count("\n") + 1
    assert '<tr><th colspan="4">proper scores</th></tr>' in table
    assert f"<td>accuracy</td><td>{FOUND['accuracy']:.4f}</td><td>higher</td>" in table
    assert ">100 samples, 5 classes, 10 bins</th>" in table


def test_plain_numbers_for_json():
    found = json.loads(json.dumps(FOUND.to_dict()))
    assert found["figures"] == dict(FOUND)
    assert BinStatistics.from_dict(found["statistics"]) == FOUND.statistics
    assert (found["n"], found["num_classes"], found["num_bins"]) == (100, 5, 10)
    assert (found["coverage"], found["exact"], found["members"]) == (0.5, True, [])


def test_a_table_of_pandas():
    pytest.importorskip("pandas")
    frame = FOUND.to_frame()
    assert list(frame.columns) == ["group", "value", "low", "high", "better", "note"]
    assert frame.loc["ece", "low"] == FOUND["ece_low"]
    assert np.isnan(frame.loc["accuracy", "low"])
    assert dict(frame["value"]) == {name: FOUND[name] for name in frame.index}


def test_a_picture():
    pytest.importorskip("matplotlib").use("agg")
    display = FOUND.plot(level=0.9)
    assert display.statistics == {"": FOUND.statistics}
    assert display.level == 0.9


def test_copies_are_equal():
    ensemble = keras_calib.evaluate(Y, np.stack([P, P]), members=0)
    for given in (FOUND, ensemble):
        for found in (copy.deepcopy(given), pickle.loads(pickle.dumps(given))):
            assert found == given
            assert found.to_dict() == given.to_dict()
            assert str(found) == str(given)


@slow_on_jax
def test_a_binary_problem_has_the_figures_of_label_1():
    y, p, _ = data("binary", n=200)
    p = p.astype("float64")
    found = keras_calib.evaluate(y, p)
    two = keras_calib.evaluate(y[:, 0], np.concatenate([1 - p, p], 1))
    assert found == pytest.approx(dict(two), abs=1e-12)
    order = np.argsort(p[:, 0])
    residuals = (p - y)[order, 0]
    ks = abs(np.cumsum(residuals)).max() / len(y)
    assert found["binary_ks_calibration_error"] == pytest.approx(ks)
    parts = [r.sum() for r in np.array_split(residuals, 15)]
    equal_mass = np.abs(parts).sum() / len(y)
    assert found["binary_equal_mass_ece"] == pytest.approx(equal_mass)
    risk = np.cumsum(1 - y[order[::-1], 0]) / np.arange(1, len(y) + 1)
    assert found["binary_aurc"] == pytest.approx(risk.mean())
    # The smooth ECE of label 1 is that of a top label of the same confidences.
    confident = np.stack([p[:, 0], 1 - p[:, 0]], 1)
    top = keras_calib.evaluate(1 - y[:, 0], confident)
    high = p[:, 0] > 0.5
    only = keras_calib.evaluate(y[high], p[high])
    assert only["binary_smooth_ece"] == pytest.approx(only["smooth_ece"])
    assert top["smooth_ece"] == pytest.approx(found["smooth_ece"])
    assert "calibration of label 1" in str(found)
    assert "binary_ece" not in FOUND


def test_fine_bins_give_curves_and_other_bins():
    for found in (FOUND, keras_calib.evaluate(Y, P, exact=False)):
        fine = found.fine_statistics
        assert fine.num_bins == 4608
        coverage, risk = fine.risk_coverage()
        assert coverage[-1] == pytest.approx(1.0)
        assert risk[-1] == pytest.approx(1 - found["accuracy"])
    np.testing.assert_allclose(fine.weight, FOUND.fine_statistics.weight)
