"""The reliability diagram draws the numbers it holds."""

import numpy as np
import pytest

import keras_calib
from keras_calib.metrics import BinStatistics
from keras_calib.viz import ReliabilityDisplay, reliability_diagram

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
    heights = [abs(bar.get_height()) for bar in display.ax_.patches]
    gaps = np.abs(statistics.mean_confidence - statistics.accuracy)
    np.testing.assert_allclose(sorted(heights), sorted(gaps))


def test_the_histogram_is_the_fraction_of_samples(statistics):
    display = reliability_diagram(statistics)
    histogram = display.figure_.axes[1]
    fractions = [bar.get_height() for bar in histogram.patches]
    np.testing.assert_allclose(fractions, statistics.weight / 400)


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
    with pytest.raises(ValueError, match="each of the 2 models. Received: 1"):
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


def test_empty_statistics_can_be_drawn():
    reliability_diagram(BinStatistics(*np.zeros((4, 5))))
    reliability_diagram(BinStatistics(*np.zeros((4, 5))).equal_mass(3))


def test_classes_on_another_axis():
    rng = np.random.default_rng(4)
    p = rng.dirichlet(np.ones(3), (2, 5))
    y = rng.integers(0, 3, (2, 5))
    last = ReliabilityDisplay.from_predictions(y, p)
    first = ReliabilityDisplay.from_predictions(y, np.moveaxis(p, -1, 1), axis=1)
    assert first.statistics == last.statistics
