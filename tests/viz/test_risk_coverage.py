"""The risk-coverage curve of what was measured."""

import numpy as np
import pytest

import keras_calib
from keras_calib.viz import RiskCoverageDisplay, risk_coverage
from keras_calib.viz.display import COLORS

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")


def samples():
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(3), 200), rng.integers(0, 3, 200)


P, Y = samples()
FOUND = keras_calib.evaluate(Y, P)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def test_it_draws_the_curve_of_the_fine_bins():
    display = risk_coverage(FOUND)
    (line,) = display.ax_.lines
    coverage, risk = FOUND.fine_statistics.risk_coverage()
    np.testing.assert_array_equal(line.get_xdata(), coverage)
    np.testing.assert_array_equal(line.get_ydata(), risk)
    assert risk[-1] == pytest.approx(1 - FOUND["accuracy"])
    assert display.ax_.get_legend() is None
    assert repr(display) == "RiskCoverageDisplay([''])"


def test_models_by_name_have_colors_and_a_legend():
    aurc = keras_calib.AURC()
    aurc.update_state(Y, P)
    display = risk_coverage({"a": FOUND, "metric": aurc, "bins": FOUND.statistics})
    assert [line.get_color() for line in display.ax_.lines] == list(COLORS[:3])
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["a", "metric", "bins"]
    a, metric, bins = (line.get_ydata() for line in display.ax_.lines)
    np.testing.assert_allclose(a, metric, atol=1e-6)
    assert len(bins) < len(a) and bins[-1] == pytest.approx(a[-1])
    ax = pyplot.figure().add_subplot()
    assert RiskCoverageDisplay(FOUND).plot(ax).ax_ is ax


@pytest.mark.parametrize("given", [{}, Y, {"a": None}])
def test_what_has_no_curve_is_refused(given):
    with pytest.raises(ValueError, match="curve"):
        risk_coverage(given)
