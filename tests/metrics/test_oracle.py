"""Figures that several libraries agree on, frozen with their versions.

Computed once with torchmetrics 1.9.0, netcal 1.4.0, scikit-learn 1.9.1, relplot
1.0.3, tensorflow-probability 0.25.0, uncertainty-calibration 0.1.4, calibre 0.14.0,
torch-uncertainty 0.13.0 and the repositories gpleiss/temperature_scaling@ce1154e and
torrvision/focal_calibration@475422a. Each figure names who gives it, and where
others differ, why.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import keras_calib
from keras_calib import metrics
from keras_calib.metrics import BinStatistics
from tests.metrics.reference import figures

SEEDED = json.loads((Path(__file__).parent / "seeded_200x5.json").read_text())
SMALL = {
    "p": np.array(
        [
            [0.72, 0.18, 0.06, 0.04],
            [0.12, 0.63, 0.17, 0.08],
            [0.33, 0.27, 0.22, 0.18],
            [0.05, 0.06, 0.86, 0.03],
            [0.48, 0.35, 0.09, 0.08],
            [0.02, 0.03, 0.01, 0.94],
            [0.26, 0.41, 0.18, 0.15],
            [0.13, 0.57, 0.21, 0.09],
            [0.88, 0.04, 0.05, 0.03],
            [0.22, 0.24, 0.36, 0.18],
        ]
    ),
    "y": np.array([0, 1, 1, 2, 1, 3, 1, 2, 0, 0]),
    "w": np.array([3, 1, 2, 1, 4, 1, 2, 2, 1, 3]),
}
M = metrics
# Metric, figure of SMALL, figure of SEEDED (logits). mapie differs throughout: its
# num_bins are num_bins - 1 bins.
MULTICLASS = {
    # torchmetrics, netcal, TFP, uncertainty-calibration, gpleiss, pycalib
    "ece 10": (lambda **k: M.ExpectedCalibrationError(10, **k), 0.234, 0.110847186178),
    "ece 15": (lambda **k: M.ExpectedCalibrationError(**k), 0.33, 0.130474913517),
    # torchmetrics norm=l2
    "l2 10": (
        lambda **k: M.ExpectedCalibrationError(10, "l2", **k),
        0.28665310045419007,
        0.1486140224706622,
    ),
    "l2 15": (
        lambda **k: M.ExpectedCalibrationError(15, "l2", **k),
        0.37347021300232236,
        0.15947556099466972,
    ),
    # torchmetrics norm=max, netcal MCE
    "mce 10": (lambda **k: M.MaximumCalibrationError(10, **k), 0.57, 0.352628452126),
    "mce 15": (lambda **k: M.MaximumCalibrationError(**k), 0.59, 0.309252526594),
    # torrvision, robustness_metrics, pycalib, torch-uncertainty
    "classwise 10": (lambda **k: M.ClasswiseECE(10, **k), 0.1895, None),
    "classwise 15": (lambda **k: M.ClasswiseECE(**k), None, 0.07018839629891357),
    # scikit-learn brier_score_loss, torch-uncertainty, K * mean squared error. TFP
    # has this less 1, pycalib a K-th of it.
    "brier": (lambda **k: M.BrierScore(**k), 0.40162, 0.4767477552720108),
    # relplot smECE, calibre
    "smooth": (
        lambda **k: M.SmoothECE(**k),
        0.11878130764633996,
        0.048056605917202025,
    ),
}


@pytest.mark.parametrize("name", MULTICLASS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_multiclass(name, dtype):
    make, small, seeded = MULTICLASS[name]
    if small is not None:
        metric = make(dtype=dtype)
        metric.update_state(SMALL["y"], SMALL["p"])
        assert float(metric.result()) == pytest.approx(small, abs=2e-6)
    if seeded is not None:
        metric = make(dtype=dtype, from_logits=True)
        metric.update_state(np.array(SEEDED["labels"]), np.array(SEEDED["logits"]))
        assert float(metric.result()) == pytest.approx(seeded, abs=2e-6)


def test_weights_and_ignored_labels():
    """torchmetrics and netcal on repeated rows; robustness_metrics drops weights."""
    ece = M.ExpectedCalibrationError(10)
    ece.update_state(SMALL["y"], SMALL["p"], SMALL["w"])
    assert float(ece.result()) == pytest.approx(0.2575, abs=2e-6)
    ece = M.ExpectedCalibrationError(10, ignore_class=-100)
    ece.update_state(np.append(SMALL["y"][:8], [-100, -100]), SMALL["p"])
    assert float(ece.result()) == pytest.approx(0.2325, abs=2e-6)


def seeded_statistics():
    ece = M.ExpectedCalibrationError(from_logits=True, dtype="float64")
    ece.update_state(np.array(SEEDED["labels"]), np.array(SEEDED["logits"]))
    return ece.statistics()


def test_debiased_l2():
    """uncertainty-calibration and torchmetrics' _ce_compute(debias=True)."""
    debiased = seeded_statistics().debiased_ece()
    assert debiased == pytest.approx(0.12638288328269984, abs=2e-6)


def test_equal_mass_of_the_seeded_case():
    """torch-uncertainty and get_ece_em, which split ranks. netcal and scikit-learn
    interpolate quantiles (.0879); TFP, robustness_metrics and torrvision differ from
    all and from each other (.0968, .0862, .0969)."""
    found = keras_calib.evaluate(
        np.array(SEEDED["labels"]), np.array(SEEDED["logits"]), from_logits=True
    )
    assert found["equal_mass_ece"] == pytest.approx(0.09643317808956145, abs=2e-6)
    assert found["smooth_ece"] == pytest.approx(0.048056605917202025, abs=1e-12)


CONFIDENCE = [0.31, 0.36, 0.42, 0.47, 0.53, 0.58, 0.64, 0.69, 0.75, 0.82, 0.91, 0.97]
HIT = [0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("num_bins", "expected"), [(3, 0.13083333333), (4, 0.1075), (5, 0.1275)]
)
def test_equal_mass_of_twelve(num_bins, expected):
    """netcal, torch-uncertainty, mapie's array split; for 5 bins netcal and
    scikit-learn interpolate (.1308)."""
    c = np.array(CONFIDENCE)
    rest = np.repeat((1 - c)[:, None] / 3, 3, axis=1)
    p, y = np.concatenate([c[:, None], rest], axis=1), 1 - np.array(HIT)
    ece = M.ExpectedCalibrationError(num_bins, binning="equal_mass")
    ece.update_state(y, p)
    assert float(ece.result()) == pytest.approx(expected, abs=2e-6)
    assert ece.statistics().ece() == pytest.approx(expected, abs=2e-6)
    assert ece.error_bound() == 0.0
    found = keras_calib.evaluate(y, p, num_bins=num_bins)["equal_mass_ece"]
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("p", "y", "num_bins", "expected"),
    [
        # torchmetrics, netcal, relplot, uncertainty-calibration, pycalib
        ([0.25, 0.25, 0.55, 0.75, 0.75], [0, 0, 1, 1, 1], 2, 0.29),
        # A confidence of 1 is in the last bin (netcal, TFP, gpleiss); torchmetrics
        # 1.9.0 (its issue 3510), relplot and robustness_metrics have a bin more.
        ([0.95, 1.0], [1, 0], 10, 0.475),
        # Every confidence on an edge i/10, and so in a bin of its own (torchmetrics
        # in float32). netcal and relplot have .3444 in float64, for their edges 3,
        # 6 and 7 come from numpy.linspace, a last digit above i/10; torchmetrics
        # has .4556 there.
        (np.arange(1, 10) / 10, [1, 0, 1, 0, 1, 0, 1, 0, 1], 10, 0.5),
        ([0.5, 0.25, 0.75], [1, 0, 0], 2, 0.16666666666),
        # netcal 1.4.0 has 0: counts and means of float32 in different bins.
        ([0.7], [1], 10, 0.3),
        ([0.0, 1.0], [0, 1], 7, 0.0),
    ],
)
@pytest.mark.parametrize("given", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges(p, y, num_bins, expected, given, dtype):
    p = np.array(p, given)
    ece = M.BinaryECE(num_bins=num_bins, dtype=dtype)
    ece.update_state(np.array(y), p)
    assert float(ece.result()) == pytest.approx(expected, abs=2e-6)
    statistics = BinStatistics.from_predictions(p, y, num_bins)
    assert statistics.ece() == pytest.approx(expected, abs=2e-6)


def test_binary_norms_and_brier():
    """torchmetrics norm=l2 and max; scikit-learn brier_score_loss."""
    p, y = np.array([0.25, 0.25, 0.55, 0.75, 0.75]), np.array([0, 0, 1, 1, 1])
    for norm, expected in (("l2", 0.29183328574147716), ("max", 0.3166666666666667)):
        ece = M.BinaryECE(num_bins=2, norm=norm)
        ece.update_state(y, p)
        assert float(ece.result()) == pytest.approx(expected, abs=2e-6)
    for labels, predictions in ((y, p), (y, p[:, None]), (y[:, None], p[:, None])):
        brier = M.BrierScore()
        brier.update_state(labels, predictions)
        assert float(brier.result()) == pytest.approx(0.0905, abs=2e-6)
    for reduction, expected in (("mean", 0.0905), ("sum", 0.181)):
        brier = M.BrierScore(reduction)
        brier.update_state(y, np.stack([1 - p, p], axis=-1))
        assert float(brier.result()) == pytest.approx(expected, abs=2e-6)


def test_one_sample_of_a_binary_problem_has_its_weight():
    ece = M.BinaryECE(num_bins=2)
    ece.update_state([1], [0.4], [2.0])
    assert float(ece.result()) == pytest.approx(0.6)
    assert ece.statistics().total == 2


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        # torchmetrics, netcal, uncertainty-calibration, scikit-learn's curve
        ("positive_class", 0.386),
        # robustness_metrics, TFP, torchmetrics on two columns
        ("predicted_class", 0.182),
    ],
)
def test_binary_ece_has_two_definitions(definition, expected):
    p, y = np.array([0.12, 0.33, 0.61, 0.82, 0.93]), np.array([0, 1, 1, 0, 1])
    z = np.log(p) - np.log1p(-p)
    two, hot = np.stack([1 - p, p], axis=-1), np.eye(2)[y]
    for labels, predictions, from_logits in (
        (y, p, False),
        (y[:, None], p[:, None], False),
        (y, two, False),
        (hot, two, False),
        (y, z, True),
        (y, np.log(two), True),
    ):
        ece = M.BinaryECE(definition, 5, from_logits=from_logits)
        ece.update_state(labels, predictions)
        assert float(ece.result()) == pytest.approx(expected, abs=2e-6)
    if definition == "predicted_class":
        ece = M.ExpectedCalibrationError(5)
        ece.update_state(y, two)
        assert float(ece.result()) == pytest.approx(expected, abs=2e-6)


def test_brier_decomposition_beside_tfp():
    """TFP's uncertainty is less by 1, its reliability holds the variance within the
    groups, and its resolution (.28988) takes the base rate of the predicted class
    where the formula has that of each class (.27080)."""
    y, z = np.array(SEEDED["labels"]), np.array(SEEDED["logits"])
    metric = M.BrierDecomposition(from_logits=True, dtype="float64")
    metric.update_state(y, z)
    parts = figures(metric.result())
    assert parts["brier_uncertainty"] - 1 == pytest.approx(-0.20945, abs=2e-6)
    reliability = parts["brier_reliability"] + parts["brier_within_variance"]
    assert reliability == pytest.approx(0.09397071599960327, abs=2e-6)
    counts = np.zeros((5, 5))
    np.add.at(counts, (z.argmax(-1), y), 1)
    share, base = counts.sum(1) / 200, counts.sum(0) / 200
    rates = counts / counts.sum(1, keepdims=True)
    theirs = share @ ((base[:, None] - rates) ** 2).sum(1)
    ours = share @ ((base[None, :] - rates) ** 2).sum(1)
    assert theirs == pytest.approx(0.2898833751678467, abs=2e-6)
    assert parts["brier_resolution"] == pytest.approx(ours, abs=1e-9)
    score = (
        parts["brier_reliability"]
        - parts["brier_resolution"]
        + parts["brier_uncertainty"]
        + parts["brier_within_variance"]
        - parts["brier_within_covariance"]
    )
    assert score == pytest.approx(0.4767477552720108, abs=1e-9)
