"""BinStatistics and what is read off it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from keras_calib import ExpectedCalibrationError
from keras_calib.metrics import (
    AURC,
    BinaryECE,
    BinStatistics,
    CalibrationGap,
    CalibrationMetrics,
    KSCalibrationError,
)
from keras_calib.metrics.tables import html_table
from tests.metrics.reference import data, top


def sample(n=2000, seed=0, sharpness=0.7):
    """Confidences and hits of a model whose true accuracy is c ** sharpness."""
    rng = np.random.default_rng(seed)
    c = rng.random(n)
    return c, (rng.random(n) < c**sharpness).astype("float64")


def test_it_adds_up_to_the_whole():
    c, h = sample()
    w = np.random.default_rng(1).random(len(c))
    parts = [
        BinStatistics.from_predictions(c[i], h[i], 10, w[i])
        for i in np.array_split(np.arange(len(c)), 7)
    ]
    whole = BinStatistics.from_predictions(c, h, 10, w)
    total = sum(parts[1:], parts[0])
    np.testing.assert_allclose(total.weight, whole.weight, rtol=1e-12)
    np.testing.assert_allclose(total.squared_error, whole.squared_error, rtol=1e-12)
    assert total.ece() == pytest.approx(whole.ece(), abs=1e-12)


def test_it_goes_through_json_between_processes():
    code = (
        "import json; from tests.metrics.test_statistics import sample; "
        "from keras_calib.metrics import BinStatistics; "
        "print(json.dumps(BinStatistics.from_predictions(*sample(500, 1), 15)"
        ".to_dict()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    found = BinStatistics.from_dict(json.loads(done.stdout))
    here = BinStatistics.from_predictions(*sample(500, 2), 15)
    c, h = np.concatenate([sample(500, 1), sample(500, 2)], axis=1)
    whole = BinStatistics.from_predictions(c, h, 15)
    assert found == BinStatistics.from_predictions(*sample(500, 1), 15)
    assert found != here
    assert (found + here).ece() == pytest.approx(whole.ece(), abs=1e-12)


def test_it_is_immutable():
    statistics = BinStatistics.from_predictions(*sample(), 5)
    with pytest.raises(ValueError, match="read-only"):
        statistics.weight[0] = 1.0
    with pytest.raises(AttributeError):
        statistics.weight = np.zeros(5)
    ours = np.ones(3)
    statistics = BinStatistics(ours, ours, ours)
    ours[:] = 7.0
    assert statistics.total == 3.0


def test_bad_shapes_and_other_bins_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        BinStatistics([1, 2], [1], [1])
    with pytest.raises(ValueError, match="one shape"):
        BinStatistics([[1]], [[1]], [[1]])
    with pytest.raises(ValueError, match="one shape"):
        BinStatistics.from_predictions([0.5], [1, 0])
    five, ten = (BinStatistics.from_predictions(*sample(), m) for m in (5, 10))
    with pytest.raises(ValueError, match="5 and 10 bins"):
        five + ten
    with pytest.raises(ValueError, match="same bins"):
        ten + BinStatistics.from_predictions(*sample(), 20).equal_mass(10)
    with pytest.raises(ValueError, match="`norm` must be one of"):
        five.ece("l3")
    with pytest.raises(TypeError):
        five + 1


def test_error_and_its_parts():
    statistics = BinStatistics.from_predictions([0.2, 0.3, 0.9, 0.8], [1, 0, 1, 0], 2)
    # Bins: confidence .25 and accuracy .5, .85 and .5, two samples each.
    assert statistics.ece() == pytest.approx(0.3)
    assert statistics.ece("l2") == pytest.approx(np.sqrt((0.25**2 + 0.35**2) / 2))
    assert statistics.ece("max") == pytest.approx(0.35)
    assert statistics.gap() == pytest.approx(0.05)
    assert statistics.overconfidence() == pytest.approx(0.175)
    assert statistics.underconfidence() == pytest.approx(0.125)
    # (c - a)^2 - a (1 - a) / (n - 1): .0625 - .25 and .1225 - .25, below 0.
    assert statistics.debiased_ece() == 0.0
    many = BinStatistics.from_predictions(
        np.repeat([0.2, 0.3, 0.9, 0.8], 100), np.tile([1, 0], 200), 2
    )
    squares = np.array([0.0625, 0.1225]) - 0.25 / 199
    assert many.debiased_ece() == pytest.approx(np.sqrt(squares.mean()))


def every_figure(statistics):
    return [
        *map(statistics.ece, ("l1", "l2", "max")),
        statistics.debiased_ece(),
        statistics.gap(),
        statistics.overconfidence(),
        statistics.underconfidence(),
        statistics.brier_score(),
        *statistics.brier_decomposition().values(),
        statistics.equal_mass(3).ece(),
    ]


def test_no_data_is_nan():
    statistics = BinStatistics(*np.zeros((4, 5)))
    assert np.isnan(every_figure(statistics)).all()
    assert "ece=nan" in repr(statistics)
    assert statistics.ece_interval() == (0.0, 1.0)  # it may be anything
    assert statistics.table() == []
    assert statistics + BinStatistics.from_predictions([0.5], [1], 5) == (
        BinStatistics.from_predictions([0.5], [1], 5)
    )


@pytest.mark.parametrize("c", [[0.1, 0.3, np.nan], [np.nan, 0.3, 0.4], [np.nan] * 3])
@pytest.mark.parametrize("num_bins", [1, 4])
def test_a_confidence_that_is_nan_makes_every_figure_nan(c, num_bins):
    found = BinStatistics.from_predictions(c, [1, 1, 0], num_bins, validate=False)
    assert np.isnan(every_figure(found)).all()
    assert np.isnan(found.ece_interval()).all()


@pytest.mark.parametrize(
    ("confidence", "hit", "weight", "match"),
    [
        ([0.5, 2.0], [1, 0], None, "confidence is not in .*probabilities.*0.5 to 2"),
        ([0.5, np.nan], [1, 0], None, "confidence is not in"),
        ([0.5, 0.7], [3, 0], None, "hit is not in .*1 for a right"),
        ([0.5, 0.7], [1, np.nan], None, "hit is not in"),
        ([0.5, 0.7], [1, 0], [1, -1], "negative weights"),
        ([0.5, 0.7], [1, 0], [1, np.inf], "sample_weight holds NaN or inf"),
        ([0.5, 0.7], ["no", "yes"], None, "`hit` holds strings: encode"),
    ],
)
def test_impossible_values_are_refused(confidence, hit, weight, match):
    with pytest.raises(ValueError, match=match):
        BinStatistics.from_predictions(confidence, hit, 5, weight)


@pytest.mark.parametrize("num_bins", [1, 2, 15, 100])
def test_brier_parts_sum_to_the_score(num_bins):
    c, h = sample()
    parts = BinStatistics.from_predictions(c, h, num_bins).brier_decomposition()
    assert parts["brier_score"] == pytest.approx(np.mean((c - h) ** 2), abs=1e-12)
    within = 0.0
    for i in range(num_bins):
        x = np.minimum((c * num_bins).astype(int), num_bins - 1) == i
        if x.any():
            covariance = np.cov(c[x], h[x], bias=True)
            within += x.mean() * (covariance[0, 0] - 2 * covariance[0, 1])
    assert parts["within_bin"] == pytest.approx(within, abs=1e-12)
    rest = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
    assert rest + within == pytest.approx(parts["brier_score"], abs=1e-12)


def test_unknown_squared_errors_are_said_to_be_missing():
    statistics = BinStatistics([1.0], [0.5], [1.0])
    with pytest.raises(ValueError, match="squared_error"):
        statistics.brier_score()
    full = BinStatistics.from_predictions([0.5], [1.0], 1)
    assert (statistics + full).squared_error is None
    assert 0.0 <= statistics.ece_interval()[0] <= statistics.ece_interval()[1] <= 1.0


def test_credible_intervals_are_quantiles_of_the_posterior():
    mpmath = pytest.importorskip("mpmath")
    statistics = BinStatistics.from_predictions(*sample(300), 8)
    low, high = statistics.credible_intervals(0.9)
    hits, misses = statistics.hits, statistics.weight - statistics.hits
    for ends, expected in ((low, 0.05), (high, 0.95)):
        for x, a, b in zip(ends, hits + 0.5, misses + 0.5, strict=True):
            below = mpmath.betainc(a, b, 0, x, regularized=True)
            assert float(below) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="`level` must be"):
        statistics.credible_intervals(1.0)


@pytest.mark.parametrize("sharpness", [1.0, 0.9, 0.4])
def test_interval_of_the_error_covers_the_truth(sharpness):
    """400 samples of 1000 from a calibrated, a slightly and a clearly wrong model."""
    u = (np.arange(10**6) + 0.5) / 10**6
    truth = BinStatistics.from_predictions(u, u**sharpness, 10).ece()
    covered, above = 0, 0
    for seed in range(400):
        c, h = sample(1000, seed, sharpness)
        low, high = BinStatistics.from_predictions(c, h, 10).ece_interval(0.9)
        assert 0 <= low <= high <= 1
        covered += low <= truth <= high
        above += truth > high
    assert covered >= 0.88 * 400
    assert above <= 0.07 * 400


@pytest.mark.parametrize("n", [1, 3, 10, 30])
@pytest.mark.parametrize("confidence", [0.6, 0.9, 0.999])
def test_few_samples_that_agree_leave_the_error_open(n, confidence):
    """All may be hits, also where the accuracy is only .95."""
    covered, rng = 0, np.random.default_rng(n)
    for _ in range(200):
        hit = rng.uniform(size=n) < 0.95
        statistics = BinStatistics.from_predictions(np.full(n, confidence), hit)
        low, high = statistics.ece_interval()
        covered += low <= abs(confidence - 0.95) <= high
    assert covered >= 0.93 * 200


def test_table():
    statistics = BinStatistics.from_predictions(*sample(300), 8)
    rows = statistics.table()
    assert len(rows) == 8
    total = sum(row["weight"] for row in rows)
    error = sum(row["weight"] * abs(row["gap"]) for row in rows) / total
    assert error == pytest.approx(statistics.ece())
    for row in rows:
        assert row["lower"] <= row["confidence"] <= row["upper"]
        if 0 < row["accuracy"] < 1:
            assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]


def test_it_prints_as_its_reliability_table():
    statistics = BinStatistics.from_predictions([0.2, 0.7, 0.8], [0, 0, 1], 4)
    text = "BinStatistics(num_bins=4, total=3, ece=0.3667, gap=+0.2333)"
    assert repr(statistics) == text
    header, *rows = str(statistics).splitlines()
    assert header.split()[:3] == ["bin", "weight", "confidence"]
    assert [row.split()[0] for row in rows] == [
        "0.000-0.250",
        "0.500-0.750",
        "0.750-1.000",
    ]
    assert rows[0].split()[1:5] == ["1", "0.2000", "0.0000", "+0.2000"]
    assert len({len(line) for line in (header, *rows)}) == 1
    table = statistics._repr_html_()
    assert table.count("<tr>") == 4
    assert "<td>0.500-0.750</td>" in table


def test_no_bins_print_as_a_header():
    assert len(str(BinStatistics(*np.zeros((4, 5)))).splitlines()) == 1


def test_html_is_escaped():
    assert html_table(["<a>"], [["&"]]) == (
        "<table><tr><th>&lt;a&gt;</th></tr><tr><td>&amp;</td></tr></table>"
    )


@pytest.mark.parametrize("num_bins", [0, -3, 2.0, "many", True])
def test_counts_must_be_whole_and_positive(num_bins):
    statistics = BinStatistics.from_predictions([0.5], [1], 2)
    for call in (
        lambda: BinStatistics.from_predictions([0.5], [1], num_bins),
        lambda: statistics.equal_mass(num_bins),
    ):
        with pytest.raises(ValueError, match="`num_bins` must be a whole number"):
            call()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_edges_are_those_of_the_metrics(dtype):
    p = (np.arange(21) / 20).astype(dtype)
    metric = BinaryECE(num_bins=10)
    metric.update_state(np.zeros(21), p)
    found = BinStatistics.from_predictions(p, np.zeros(21), 10)
    np.testing.assert_array_equal(found.weight, metric.statistics().weight)


def test_a_sample_of_weight_0_may_be_nan():
    found = BinStatistics.from_predictions([0.5, np.nan], [1, 1], 2, [1, 0])
    assert found == BinStatistics.from_predictions([0.5], [1], 2)


@pytest.mark.parametrize("num_bins", [1, 4, 7])
def test_equal_mass_splits_as_numpy_does(num_bins):
    c, h = sample(100)
    cells = BinStatistics.from_predictions(c, h, 10**5)
    parts = np.array_split(np.sort(c), num_bins)
    found = cells.equal_mass(num_bins)
    np.testing.assert_allclose(found.weight, [len(x) for x in parts])
    np.testing.assert_allclose(found.confidence, [x.sum() for x in parts])
    assert found.edges[0] >= 0
    assert found.edges[-1] <= 1


def test_a_metric_gives_them():
    y, p, w = data("classes")
    metric = ExpectedCalibrationError()
    metric.update_state(y, p, w)
    expected = BinStatistics.from_predictions(*top(y, p), 15, w)
    for name in ("weight", "confidence", "hits", "squared_error"):
        found = getattr(metric.statistics(), name)
        np.testing.assert_allclose(found, getattr(expected, name), atol=1e-5)


@pytest.mark.parametrize("metric", [AURC, CalibrationGap, KSCalibrationError])
def test_metrics_that_need_no_squared_errors_sum_none(metric):
    y, p, w = data("classes")
    alone, every = metric(), ExpectedCalibrationError(1, binning="equal_mass")
    alone.update_state(y, p, w)
    assert {variable.shape[-1] for variable in alone.variables} == {3}
    assert alone.statistics().squared_error is None
    for order in ([metric(), every], [every, metric()]):
        every.reset_state()
        together = CalibrationMetrics(order)
        together.update_state(y, p, w)
        found = together.result()[alone.name]
        assert float(found) == pytest.approx(float(alone.result()), abs=2e-6)
        assert every.statistics().brier_score() > 0.0


def test_risk_and_coverage():
    rng = np.random.default_rng(0)
    c = np.sort(rng.choice(np.arange(1, 400) / 400, 300, replace=False))[::-1]
    h = (rng.random(300) < c).astype(float)
    edges = np.concatenate([[0.0], (c[:0:-1] + c[-2::-1]) / 2, [1.0]])
    one_each = BinStatistics(np.ones(300), c[::-1], h[::-1], edges=edges)
    coverage, risk = one_each.risk_coverage()
    np.testing.assert_allclose(coverage, np.arange(1, 301) / 300)
    np.testing.assert_allclose(risk, np.cumsum(1 - h) / np.arange(1, 301))
    for allowed in (0.0, 0.05, 0.2, 1.0):
        most = one_each.coverage_at_risk(allowed)
        taken = coverage[risk <= allowed].max(initial=0.0)
        assert taken <= most < taken + 1 / 300
    # A bin that is cut: 10 hits, then 10 samples of which half are errors.
    cut = BinStatistics([10, 10], [4, 9], [5, 10])
    assert cut.coverage_at_risk(0.1) == pytest.approx(12.5 / 20)
    assert cut.coverage_at_risk(0.25) == 1.0
    assert BinStatistics([10], [9], [5]).coverage_at_risk(0.4) == 0.0
    assert np.isnan(BinStatistics([0.0], [0.0], [0.0]).coverage_at_risk(0.4))
    with pytest.raises(ValueError, match="`risk` must be a number"):
        cut.coverage_at_risk(5)
