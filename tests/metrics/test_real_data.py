"""Published outputs of real models, and what others computed of them."""

import csv

import numpy as np
import pytest

import keras_calib
from keras_calib import metrics
from keras_calib.metrics import BinStatistics
from tests.data import real

VGG = "verified_calibration_vgg/cifar10_vgg16.npz", "probs", "label"


def arrays(file, predictions, labels):
    with np.load(real(file)) as found:
        return found[labels].astype("int32"), found[predictions]


@pytest.mark.parametrize(
    ("source", "expected", "atol"),
    [
        (
            (
                "netcal_probs/densenet-bc-100-cifar-100.npz",
                "predictions",
                "ground_truth",
            ),
            0.1422,
            5e-5,
        ),
        (
            (
                "netcal_probs/wideresnet-16-4-cifar-10.npz",
                "predictions",
                "ground_truth",
            ),
            0.0537,
            5e-5,
        ),
        (VGG, 0.0397801, 1e-6),  # uncertainty-calibration 0.1.4
        (("label_errors_outputs/20news_test_set.npz", "probs", "label"), 0.2011, 5e-5),
    ],
)
def test_expected_calibration_error(source, expected, atol):
    y, p = arrays(*source)
    ece = metrics.ExpectedCalibrationError()
    for part in np.array_split(np.random.default_rng(0).permutation(len(y)), 7):
        ece.update_state(y[part], p[part])
    assert float(ece.result()) == pytest.approx(expected, abs=atol)
    found = keras_calib.evaluate(y, p)
    assert found["ece"] == pytest.approx(expected, abs=atol)
    assert found["ece_low"] < found["ece"] < found["ece_high"]


def test_debiased_errors_of_vgg():
    """uncertainty-calibration 0.1.4, lower_bound_scaling_ce(p=2, debias=True), by
    equal width and, marginal, by equal mass (which cuts ties by its own rule)."""
    y, p = arrays(*VGG)
    found = keras_calib.evaluate(y, p)
    assert found["ece_l2_debiased"] == pytest.approx(0.06309824317936226, abs=2e-6)
    assert found["equal_mass_ece_l2_debiased"] == pytest.approx(0.0776820168, abs=2e-5)
    squares = []
    for k in range(10):
        values, cell = np.unique(p[:, k].astype("float64"), return_inverse=True)
        sums = [np.bincount(cell, x) for x in (np.ones(len(y)), p[:, k], y == k)]
        cells = BinStatistics(*sums, edges=np.append(values, 1.0))
        squares.append(cells.equal_mass(15).debiased_ece() ** 2)
    assert np.sqrt(np.mean(squares)) == pytest.approx(0.0106713, abs=1e-4)


def outcomes(file, *columns):
    with open(real(f"fivethirtyeight_forecasts/{file}")) as lines:
        rows = list(csv.DictReader(lines))
    rows = [r for r in rows if all(r[c] != "" for c in columns)]
    return np.array([[float(r[c]) for c in columns] for r in rows])


@pytest.mark.parametrize(
    ("sport", "count", "expected"),
    [
        ("nba", 8886, 0.21465),
        ("mlb", 15748, 0.23988),
        ("nfl", 1889, 0.22106),
        ("nhl", 1401, 0.23126),
        ("wnba", 450, 0.21793),
    ],
)
def test_brier_score_of_forecasts(sport, count, expected):
    p, y = outcomes(f"{sport}_games.csv", "prob1", "prob1_outcome").T
    assert len(p) == count
    brier = metrics.BrierScore()
    brier.update_state(y == 1, p)  # a tie, given as 0.5, counts as not won
    assert float(brier.result()) == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize(
    ("who", "count", "expected"), [("men", 176, 0.5375), ("women", 103, 0.4020)]
)
def test_brier_score_of_three_ways(who, count, expected):
    names = ("prob1", "probtie", "prob2")
    columns = [*names, *(f"{name}_outcome" for name in names)]
    found = outcomes(f"world_cup_matches_{who}.csv", *columns)
    assert len(found) == count
    brier = metrics.BrierScore()
    brier.update_state(found[:, 3:], found[:, :3])
    assert float(brier.result()) == pytest.approx(expected, abs=6e-5)


def test_brier_score_of_rain():
    """Dimitriadis, Gneiting, Jordan (PNAS 2021): EMOS .232, uncertainty .244."""
    with open(real("precip_niamey/precip_niamey_2016.csv")) as lines:
        rows = list(csv.DictReader(lines))
    p, y = (np.array([float(r[c]) for r in rows]) for c in ("EMOS", "obs"))
    parts = BinStatistics.from_predictions(p, y, 10).brier_decomposition()
    assert parts["brier_score"] == pytest.approx(0.232, abs=5e-4)
    assert parts["uncertainty"] == pytest.approx(0.244, abs=5e-4)
