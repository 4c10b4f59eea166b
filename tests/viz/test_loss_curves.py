"""Loss curves hold the numbers that they draw."""

import matplotlib
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
    assert len(of_loss.lines) == 2
    assert len(of_weight.lines) == 4  # and the two bounds
    np.testing.assert_array_equal(
        of_loss.lines[0].get_ydata(), display.values["gamma_ce"]
    )
    assert of_weight.get_yscale() == "log"
    matplotlib.pyplot.close(display.figure_)


def test_draws_on_given_axes():
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(ncols=2)
    display = viz.loss_curves(GammaCE(0.3), axes=axes)
    assert display.figure_ is figure
    pyplot.close(figure)


@pytest.mark.parametrize(
    ("losses", "p", "match"),
    [
        ([], None, "at least one loss. Received: none"),
        ([GammaCE(0.1), GammaCE(0.2)], None, "must have different names"),
        ([ConfidencePenaltyCE()], None, "must be TrueClassLosses"),
        ([GammaCE(0.1)], [0.0, 0.5], r"in \(0, 1\). Received: 0 to 0.5"),
    ],
)
def test_bad_arguments(losses, p, match):
    with pytest.raises(ValueError, match=match):
        viz.loss_curves(losses, p)
