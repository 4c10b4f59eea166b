"""The reliability diagram draws the numbers it holds."""

import numpy as np
import pytest

import keras_calib
from keras_calib.metrics import BinStatistics
from keras_calib.viz import ReliabilityDisplay, reliability_diagram
from keras_calib.viz.display import BLUE, VERMILION

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture
def statistics():
    rng = np.random.default_rng(0)
    c = rng.random(400)
    return BinStatistics.from_predictions(c, rng.random(400) < c**2, 10)


def test_dots_intervals_and_bars_are_those_of_the_statistics(statistics):
    display = reliability_diagram(statistics)
    assert display.statistics[""] is statistics
    dots = display.ax_.lines[-1]
    np.testing.assert_allclose(dots.get_xdata(), statistics.mean_confidence)
    np.testing.assert_allclose(dots.get_ydata(), statistics.accuracy)
    low, high = statistics.credible_intervals()
    segments = np.array(display.ax_.collections[0].get_segments())
    np.testing.assert_allclose(segments[:, 0, 1], low)
    np.testing.assert_allclose(segments[:, 1, 1], high)
    diagonal = display.ax_.lines[0]
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert diagonal.get_linestyle() == "--"


def test_a_bar_reaches_from_the_dot_to_the_diagonal_in_the_color_of_its_side():
    rng = np.random.default_rng(1)
    c = rng.random(400)
    statistics = BinStatistics.from_predictions(c, rng.random(400) < 0.5, 10)
    ax = reliability_diagram(statistics).ax_
    bars = {round(bar.get_x(), 6): bar for bar in ax.patches}
    assert len(bars) == 10
    for i, (confidence, accuracy) in enumerate(
        zip(statistics.mean_confidence, statistics.accuracy, strict=True)
    ):
        bar = bars[round(i / 10, 6)]
        assert bar.get_width() == pytest.approx(0.1)
        # A calibrated bin's dot is at (confidence, confidence).
        assert bar.get_y() == pytest.approx(confidence)
        assert bar.get_y() + bar.get_height() == pytest.approx(accuracy)
        color = VERMILION if confidence > accuracy else BLUE
        assert bar.get_edgecolor() == matplotlib.colors.to_rgba(color)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["overconfident", "underconfident"]


def test_axes_hold_all_probabilities_and_say_what_they_are(statistics):
    display = reliability_diagram({"a model": statistics})
    ax, histogram = display.figure_.axes
    assert ax.get_xlim() == ax.get_ylim() == histogram.get_xlim() == (0, 1)
    assert ax.get_aspect() == 1
    assert ax.get_title() == "a model"
    assert ax.get_ylabel() == "Accuracy"
    assert histogram.get_xlabel() == "Confidence"
    assert histogram.get_ylabel() == "Fraction"
    top = statistics.weight.max() / 400
    assert histogram.get_ylim() == pytest.approx((0, top))
    assert histogram.get_yticks() == pytest.approx([0, top])


def test_a_bin_without_samples_has_no_mark():
    bins = np.array([0, 2.0, 0, 4.0])
    statistics = BinStatistics(bins, bins * 0.4, bins * 0.5, bins * 0.1)
    display = reliability_diagram(statistics)
    assert len(display.ax_.patches) == len(display.ax_.lines[-1].get_xdata()) == 2
    assert len(display.ax_.collections[0].get_segments()) == 2
    heights = [bar.get_height() for bar in display.figure_.axes[1].patches]
    assert heights == pytest.approx([0, 1 / 3, 0, 2 / 3])


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_level_is_that_of_the_intervals(level, statistics):
    low, high = statistics.credible_intervals(level)
    ax = ReliabilityDisplay.from_statistics(statistics, level=level).ax_
    segments = np.array(ax.collections[0].get_segments())
    np.testing.assert_allclose(segments[:, 0, 1], low)
    np.testing.assert_allclose(segments[:, 1, 1], high)
    np.testing.assert_allclose(segments[:, 0, 0], statistics.mean_confidence)


def test_the_histogram_is_the_fraction_of_samples(statistics):
    display = reliability_diagram(statistics)
    histogram = display.figure_.axes[1]
    fractions = [bar.get_height() for bar in histogram.patches]
    np.testing.assert_allclose(fractions, statistics.weight / 400)
    lefts = [bar.get_x() for bar in histogram.patches]
    np.testing.assert_allclose(lefts, np.arange(10) / 10, atol=1e-12)


def test_the_corner_holds_the_figures(statistics):
    text = reliability_diagram(statistics).ax_.get_legend().get_title().get_text()
    assert f"{statistics.ece():.4f}" in text
    assert f"{statistics.gap():+.4f}" in text
    assert f"{statistics.brier_score():.4f}" in text
    bare = BinStatistics(statistics.weight, statistics.confidence, statistics.hits)
    assert (
        "Brier" not in reliability_diagram(bare).ax_.get_legend().get_title().get_text()
    )


def test_several_models_stand_side_by_side(statistics):
    display = reliability_diagram({"before": statistics, "after": statistics})
    assert [ax.get_title() for ax in display.ax_] == ["before", "after"]
    _, axes = pyplot.subplots(1, 2)
    display = ReliabilityDisplay({"a": statistics, "b": statistics}).plot(axes)
    assert display.ax_[1] is axes[1]
    assert display.figure_ is axes[0].figure
    with pytest.raises(ValueError, match="each model, 2. Received: 1"):
        display.plot(axes[0])
    with pytest.raises(ValueError, match="at least one BinStatistics. Received: none"):
        ReliabilityDisplay({})


def test_predictions_are_measured_first():
    y, p = np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    display = reliability_diagram(y, p, num_bins=5)
    ece = keras_calib.ExpectedCalibrationError(5)
    ece.update_state(y, p)
    assert display.statistics[""] == ece.statistics()
    logits = ReliabilityDisplay.from_predictions(
        y, {"a": np.log(p), "b": np.log(p)}, num_bins=5, from_logits=True
    )
    assert list(logits.statistics) == ["a", "b"]
    assert logits.statistics["a"].ece() == pytest.approx(ece.statistics().ece())


def test_binary_predictions_are_drawn_by_the_positive_class():
    y, p = np.array([0, 1, 1]), np.array([0.2, 0.7, 0.4])
    display = reliability_diagram(y, p, num_bins=5)
    expected = BinStatistics.from_predictions(p, y, 5)
    np.testing.assert_allclose(display.statistics[""].hits, expected.hits)
    assert display.statistics[""].ece() == pytest.approx((0.2 + 0.3 + 0.6) / 3)


@pytest.mark.parametrize(
    ("y", "p"),
    [
        ([0, 1, 1, 1], [0.2, 0.7, 0.4, 0.9]),
        ([0, 1, 1, 1], [[0.2], [0.7], [0.4], [0.9]]),
        ([[0], [1], [1], [1]], [[0.2], [0.7], [0.4], [0.9]]),
        (np.eye(2)[[0, 1, 1, 1]], [0.2, 0.7, 0.4, 0.9]),
    ],
)
def test_predictions_of_a_binary_problem_in_every_form(y, p):
    """By hand: four bins of one sample, |c - a| = .2, .3, .6, .1."""
    found = reliability_diagram(y, np.array(p), num_bins=10).statistics[""]
    assert found.total == 4
    assert found.ece() == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("labels", [[0, 1, 1, 1], np.eye(2)[[0, 1, 1, 1]]])
def test_labels_of_classes_in_every_form(labels):
    p = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])
    found = reliability_diagram(labels, p, num_bins=10).statistics[""]
    assert found.hits.sum() == 3
    assert found.ece() == pytest.approx((0.2 + 0.3 + 0.6 + 0.1) / 4, abs=1e-6)


Y = [0, 1, 1, 1]
P = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([], np.zeros((0, 2))), "is empty: give at least one sample"),
        ((Y, np.full((4, 2), np.nan)), "y_pred holds NaN"),
        ((Y, [np.nan] * 4), "y_pred holds NaN"),
        ((Y, np.log(P)), "these are logits; use from_logits=True"),
        ((Y, 100 * P), "percentages; divide by 100"),
        ((Y, {"good": P, "bad": 100 * P}), "percentages; divide by 100"),
        ((P, Y), "look swapped"),
        ((["a", "b", "b", "b"], P), "holds strings: encode them"),
        (([1, 2, 2, 2], P), "write y_true - 1"),
        ((Y[:3], P), "must have the same length"),
        ((Y,), "must be a BinStatistics.*labels come with predictions"),
        (({"a": P},), "must be a BinStatistics"),
        ((BinStatistics(*np.full((4, 5), np.nan)),), "must be finite"),
        (({"dead": BinStatistics(*np.full((4, 5), np.nan))},), "Received: {'dead'"),
        ((Y, {}), "at least one BinStatistics. Received: none"),
        ((Y, P, [1, 2, 3, 4]), "weights are sample_weight=w. Received: list"),
    ],
)
def test_bad_input_is_refused_before_a_figure_is_open(arguments, match):
    before = pyplot.get_fignums()
    with pytest.raises(ValueError, match=match):
        reliability_diagram(*arguments)
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"from_logits": True}, "holds probabilities"),
        ({"sample_weight": [1, 1, 1, -1]}, "negative weights"),
        ({"num_bins": 0}, "`num_bins` must be a whole number >= 1"),
        ({"validate": "no"}, "`validate` must be True or False"),
        ({"from_logits": "no"}, "`from_logits` must be True or False"),
        ({"level": 1.5}, "`level` must be a number in"),
        ({"level": 95}, "`level` must be a number in"),
    ],
)
def test_bad_arguments_are_refused_before_a_figure_is_open(kwargs, match):
    with pytest.raises(ValueError, match=match):
        reliability_diagram(Y, P, **kwargs)
    assert not pyplot.get_fignums()


def test_the_checks_can_be_switched_off():
    """Logits may lie in [0, 1] and sum to 1, though they hardly ever do."""
    with pytest.raises(ValueError, match="holds probabilities"):
        reliability_diagram(Y, P, from_logits=True)
    display = reliability_diagram(Y, P, from_logits=True, validate=False)
    softmax = np.exp(P) / np.exp(P).sum(-1, keepdims=True)
    found = display.statistics[""].confidence.sum()
    assert found == pytest.approx(softmax.max(-1).sum(), abs=1e-5)


@pytest.mark.parametrize("cut", [lambda empty: empty, lambda e: e.equal_mass(3)])
def test_of_no_sample_nothing_is_drawn_and_no_figure_claimed(cut):
    ax = reliability_diagram(cut(BinStatistics(*np.zeros((4, 5))))).ax_
    assert ax.get_legend().get_title().get_text() == "no samples"
    assert not ax.patches
    assert not len(ax.lines[-1].get_xdata())


def test_classes_on_another_axis():
    rng = np.random.default_rng(4)
    p = rng.dirichlet(np.ones(3), (2, 5))
    y = rng.integers(0, 3, (2, 5))
    last = ReliabilityDisplay.from_predictions(y, p)
    first = ReliabilityDisplay.from_predictions(y, np.moveaxis(p, -1, 1), axis=1)
    assert first.statistics == last.statistics


def test_metrics_and_evaluations_are_drawn_by_their_statistics():
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(3), 200), rng.integers(0, 3, 200)
    found = keras_calib.evaluate(y, p)
    ece = keras_calib.ExpectedCalibrationError()
    ece.update_state(y, p)
    several = reliability_diagram(
        {"metric": ece, "all": found, "bins": found.statistics}
    )
    assert list(several.statistics) == ["metric", "all", "bins"]
    assert [ax.get_title() for ax in several.ax_] == ["metric", "all", "bins"]
    assert several.statistics["all"] is several.statistics["bins"]
    for given in (ece, found):
        (drawn,) = reliability_diagram(given).statistics.values()
        assert drawn.ece() == pytest.approx(found["ece"], abs=1e-6)


def test_a_metric_of_classes_is_a_grid():
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(7), 200), rng.integers(0, 7, 200)
    metric = keras_calib.ClasswiseECE()
    metric.update_state(y, p)
    display = reliability_diagram(metric)
    assert list(display.statistics) == [f"class {k}" for k in range(7)]
    assert [ax.get_ylabel() for ax in display.ax_] == ["Accuracy", *4 * [""]] + [
        "Accuracy",
        "",
    ]
    named = reliability_diagram({"old": metric, "new": metric})
    assert list(named.statistics)[:2] == ["old class 0", "old class 1"]
    assert len(named.statistics) == 14


def test_bins_of_equal_mass_are_cut_out_of_the_fine_ones():
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(3), 300), rng.integers(0, 3, 300)
    found = keras_calib.evaluate(y, p, num_bins=6)
    (drawn,) = found.plot(binning="equal_mass").statistics.values()
    assert drawn.num_bins == 6
    np.testing.assert_allclose(drawn.weight, 50)
    assert drawn == found.fine_statistics.equal_mass(6)
    with pytest.raises(ValueError, match="`binning` must be one of"):
        found.plot(binning="quantiles")


def test_a_smooth_curve_with_a_band():
    rng = np.random.default_rng(0)
    c = 0.5 + rng.random(4000) / 2
    h = rng.random(4000) < c**2
    found = keras_calib.evaluate(~h * 1, np.stack([c, 1 - c], 1))
    ax = found.plot(smooth=True).ax_
    x, y = ax.lines[-1].get_data()
    sigma = min(found["smooth_ece"], 0.05)
    # By the samples themselves.
    kernel = sum(
        np.exp(-0.5 * ((x[:, None] - image) / sigma) ** 2) for image in (c, -c, 2 - c)
    )
    np.testing.assert_allclose(y, kernel @ h / kernel.sum(1), atol=1e-3)
    inside = (x > 0.55) & (x < 0.95)
    np.testing.assert_allclose(y[inside], x[inside] ** 2, atol=0.06)
    band = ax.collections[-1].get_paths()[0].get_extents()
    assert band.y0 < y.min() and band.y1 > y.max()
    two = reliability_diagram({"a": found, "b": found}, smooth=True)
    assert [len(ax.lines) for ax in two.ax_] == [3, 3]


def test_a_smooth_curve_needs_its_bandwidth():
    for given in (BinStatistics(*np.ones((4, 5))), keras_calib.AURC()):
        with pytest.raises(ValueError, match="a smooth curve needs an Evaluation"):
            reliability_diagram(given, smooth=True)


def test_each_row_of_given_axes_says_what_it_shows():
    y, p = [0, 1], np.array([[0.8, 0.2], [0.7, 0.3]])
    models = {name: keras_calib.evaluate(y, p) for name in "abcd"}
    _, axes = pyplot.subplots(2, 2)
    display = reliability_diagram(models, ax=axes)
    assert [ax.get_ylabel() for ax in display.ax_] == ["Accuracy", ""] * 2
