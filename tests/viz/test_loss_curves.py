"""Loss curves hold the numbers that they draw."""

import matplotlib
import matplotlib.pyplot
import numpy as np
import pytest

from keras_calib import (
    ConfidencePenaltyCE,
    GammaCE,
    GeneralizedCE,
    GradientWeightedCE,
    viz,
)

matplotlib.use("agg")


def test_values_and_weights():
    display = viz.loss_curves(
        {"gamma": GammaCE(0.1), "gce": GeneralizedCE(0.7)}, p=[0.1, 0.5, 0.9]
    )
    p = np.array([0.1, 0.5, 0.9])
    u = 0.1 + 0.9 * p
    np.testing.assert_allclose(display.values["gamma"], -np.log(u) / 0.9, rtol=1e-7)
    np.testing.assert_allclose(display.weights["gamma"], 1 / u, rtol=1e-7)
    np.testing.assert_allclose(display.weights["gce"], p**-0.3, rtol=1e-7)


def test_draws_value_and_weight():
    display = viz.loss_curves([GammaCE(0.1), GradientWeightedCE("focal")])
    of_loss, of_weight = display.axes_
    labels = [text.get_text() for text in of_loss.get_legend().get_texts()]
    assert labels == ["gamma_ce", "gradient_weighted_ce"]
    drawn = [display.values[name] for name in labels]
    for line, values in zip(of_loss.lines, drawn, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), display.p)
        np.testing.assert_array_equal(line.get_ydata(), values)
    # Those of cross-entropy and of the smooth accuracy are dotted, below the others.
    bounds = [1 / display.p, np.ones_like(display.p)]
    drawn = bounds + [display.weights[name] for name in labels]
    for line, values in zip(of_weight.lines, drawn, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert [line.get_linestyle() for line in of_weight.lines] == [":", ":", "-", "-"]
    colors = [line.get_color() for line in of_loss.lines]
    assert [line.get_color() for line in of_weight.lines[2:]] == colors
    assert len(set(colors)) == 2
    matplotlib.pyplot.close(display.figure_)


def test_the_axes_hold_what_is_drawn_and_say_what_it_is():
    losses = [GammaCE(0.1), GeneralizedCE(0.7)]
    display = viz.loss_curves(losses)
    of_loss, of_weight = display.axes_
    for ax in display.axes_:
        assert ax.get_xlabel() == "Probability of the true class, p"
        assert ax.get_xlim() == (0, 1)
    assert of_loss.get_ylabel() == "Loss, l(p)"
    assert of_weight.get_ylabel() == "Weight, w(p) = −dl/dp"
    top = max(values.max() for values in display.values.values())
    assert of_loss.get_ylim() == pytest.approx((0, 1.05 * top))
    assert of_weight.get_yscale() == "log"
    low = min(weights.min() for weights in display.weights.values())
    assert of_weight.get_ylim() == pytest.approx((0.5 * min(low, 1), 200))
    matplotlib.pyplot.close(display.figure_)


def test_no_two_of_many_curves_look_alike():
    losses = {f"gamma {i}": GammaCE(i / 20) for i in range(20)}
    of_loss, of_weight = viz.loss_curves(losses).axes_
    looks = [(line.get_color(), line.get_linestyle()) for line in of_loss.lines]
    assert len(set(looks)) == 20
    assert looks == [
        (line.get_color(), line.get_linestyle()) for line in of_weight.lines[2:]
    ]
    matplotlib.pyplot.close(of_loss.figure)


def test_draws_on_given_axes():
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(ncols=2)
    display = viz.loss_curves(GammaCE(0.3), axes=axes)
    assert display.figure_ is figure
    pyplot.close(figure)


class Infinite(GammaCE):
    """A loss without a value."""

    def value(self, log_p, p, q):
        return p / (p - p)


@pytest.mark.parametrize(
    ("losses", "p", "match"),
    [
        ([], None, "at least one loss. Received: none"),
        ([GammaCE(0.1), GammaCE(0.2)], None, "must have different names"),
        ([ConfidencePenaltyCE()], None, "must be TrueClassLosses"),
        ("gamma_ce", None, "must be TrueClassLosses"),
        (0.1, None, "must be TrueClassLosses"),
        ([GammaCE(0.1)], [0.0, 0.5], r"in \(0, 1\). Received: \[0"),
        ([GammaCE(0.1)], [0.5, np.nan], r"in \(0, 1\). Received: .* nan"),
        ([GammaCE(0.1)], [], r"in \(0, 1\). Received: \[\]"),
        ([GammaCE(0.1)], 0.5, r"a list of probabilities in \(0, 1\). Received: 0.5"),
        ([Infinite(0.1)], None, "must be finite. Received: infinite=Infinite"),
    ],
)
def test_bad_arguments_are_refused_before_a_figure_is_open(losses, p, match):
    matplotlib.pyplot.close("all")
    with pytest.raises(ValueError, match=match):
        viz.loss_curves(losses, p)
    assert not matplotlib.pyplot.get_fignums()


@pytest.mark.parametrize("count", [1, 3])
def test_two_axes_are_needed(count):
    figure, axes = matplotlib.pyplot.subplots(ncols=count)
    with pytest.raises(ValueError, match=f"must hold two axes, .* Received: {count}"):
        viz.loss_curves(GammaCE(0.3), axes=axes)
    matplotlib.pyplot.close(figure)
