"""Reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_calib.metrics import BinaryECE, BinStatistics, ExpectedCalibrationError

# Okabe and Ito's colours, told apart by every kind of colour vision.
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"


class ReliabilityDisplay:
    """A reliability diagram: accuracy against confidence, bin by bin.

    Above each model's histogram of confidences its bins: a dot at (mean confidence,
    accuracy) with the credible interval of the accuracy, and a bar from the dot to
    the diagonal, where a calibrated model lies: orange and below where the model is
    overconfident, blue and above where it is underconfident. In the corner the
    expected calibration error with its 95 % interval, the gap (mean confidence
    minus accuracy) and the Brier score of the top label alone.

    Args:
        statistics: a `BinStatistics`, or several by name, drawn side by side.
        level: probability of the credible intervals.

    Attributes:
        statistics: what is drawn, `BinStatistics` by name.
        ax_: the axes, an array of them for several models, after `plot`.
        figure_: the figure, after `plot`.

    Raises:
        ValueError: for no statistics, and for fewer axes than models.

    Example:

    >>> import keras_calib
    >>> display = keras_calib.viz.ReliabilityDisplay.from_predictions(
    ...     [0, 1, 1], [[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]]
    ... )
    >>> display.ax_.get_ylabel()
    'Accuracy'
    """

    def __init__(
        self,
        statistics: BinStatistics | Mapping[str, BinStatistics],
        *,
        level: float = 0.95,
    ) -> None:
        if isinstance(statistics, BinStatistics):
            statistics = {"": statistics}
        if not statistics:
            raise ValueError("There is nothing to draw. Received: no statistics")
        self.statistics = dict(statistics)
        self.level = level

    @classmethod
    def from_statistics(
        cls,
        statistics: BinStatistics | Mapping[str, BinStatistics],
        *,
        level: float = 0.95,
        ax: Any = None,
    ) -> ReliabilityDisplay:
        """Draws the statistics that a metric or a file gave.

        Args:
            statistics: a `BinStatistics`, or several by name.
            level: probability of the credible intervals.
            ax: matplotlib axes, one a model; a new figure by default.
        """
        return cls(statistics, level=level).plot(ax)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        num_bins: int = 15,
        from_logits: bool = False,
        sample_weight: Any = None,
        ignore_class: int | None = None,
        level: float = 0.95,
        ax: Any = None,
    ) -> ReliabilityDisplay:
        """Draws the calibration of predictions: of the top label, or of label 1.

        Args:
            y_true: integer labels, or targets of shape `(..., K)`.
            y_pred: predictions of shape `(..., K)`; or of label 1 of a binary
                problem, of shape `(N,)` or `(..., 1)`; or several by name.
            num_bins: the number of equal-width bins.
            from_logits: whether predictions are logits.
            sample_weight: one weight a sample.
            ignore_class: integer label whose samples count for nothing.
            level: probability of the credible intervals.
            ax: matplotlib axes, one a model; a new figure by default.
        """
        if not isinstance(y_pred, Mapping):
            y_pred = {"": y_pred}
        statistics = {}
        for name, predictions in y_pred.items():
            shape = np.shape(predictions)
            binary = len(shape) == 1 or shape[-1] == 1
            metric = (BinaryECE if binary else ExpectedCalibrationError)(
                num_bins=num_bins, from_logits=from_logits, ignore_class=ignore_class
            )
            metric.update_state(y_true, predictions, sample_weight)
            statistics[name] = metric.statistics()
        return cls.from_statistics(statistics, level=level, ax=ax)

    def plot(self, ax: Any = None) -> ReliabilityDisplay:
        """Draws, and returns itself.

        Args:
            ax: matplotlib axes, one a model; a new figure by default.
        """
        count = len(self.statistics)
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots(
                ncols=count,
                figsize=(4 * count, 4.8),
                squeeze=False,
                layout="tight",
            )
        axes = np.ravel(ax)
        if len(axes) != count:
            raise ValueError(
                f"There must be one ax for each of the {count} models. "
                f"Received: {len(axes)}"
            )
        for axis, (name, statistics) in zip(axes, self.statistics.items(), strict=True):
            _draw(axis, name, statistics, self.level)
        axes[0].set_ylabel("Accuracy")
        self.ax_ = axes if count > 1 else axes[0]
        self.figure_ = axes[0].figure
        return self


def reliability_diagram(
    y_true: Any, y_pred: Any = None, **kwargs: Any
) -> ReliabilityDisplay:
    """Draws a reliability diagram of statistics or of predictions.

    Args:
        y_true: labels; or, with no `y_pred`, a `BinStatistics` or several by name.
        y_pred: predictions of shape `(..., K)`, or several by name.
        **kwargs: arguments of `ReliabilityDisplay.from_statistics` or of
            `ReliabilityDisplay.from_predictions`.

    Returns:
        A `ReliabilityDisplay`, drawn.

    Example:

    >>> import keras_calib
    >>> ece = keras_calib.ExpectedCalibrationError(num_bins=5)
    >>> ece.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> figure = keras_calib.viz.reliability_diagram(ece.statistics()).figure_
    """
    if y_pred is None:
        return ReliabilityDisplay.from_statistics(y_true, **kwargs)
    return ReliabilityDisplay.from_predictions(y_true, y_pred, **kwargs)


def _draw(ax: Any, name: str, statistics: BinStatistics, level: float) -> None:
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    used = statistics.weight > 0
    left, width = statistics.edges[:-1], np.diff(statistics.edges)
    confidence, accuracy = statistics.mean_confidence, statistics.accuracy
    low, high = statistics.credible_intervals(level)

    ax.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1, zorder=1)
    for which, color, hatch, label in (
        (used & (confidence > accuracy), _ORANGE, "///", "overconfident"),
        (used & (confidence < accuracy), _BLUE, "\\\\\\", "underconfident"),
    ):
        if which.any():
            ax.bar(
                left[which],
                (accuracy - confidence)[which],
                width[which],
                bottom=confidence[which],
                align="edge",
                color=(color, 0.25),
                edgecolor=color,
                hatch=hatch,
                linewidth=0.6,
                label=label,
                zorder=2,
            )
    dots = {"color": "black", "zorder": 4, "clip_on": False}
    ax.vlines(confidence[used], low[used], high[used], lw=1, **dots)
    ax.plot(confidence[used], accuracy[used], "o", ms=4, **dots)

    # Figures and key in one box: a legend finds the place that hides least.
    box = ax.legend(
        *ax.get_legend_handles_labels(),
        title=_figures(statistics),
        title_fontproperties={"family": "monospace", "size": 8},
        fontsize=8,
        edgecolor="none",
        framealpha=0.8,
    )
    box.set_zorder(5)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=name)
    ax.tick_params(labelbottom=False)

    histogram = make_axes_locatable(ax).append_axes("bottom", "20%", 0.15, sharex=ax)
    share = statistics.weight / max(statistics.total, 1e-300)
    histogram.bar(left, share, width, align="edge", color=_GREY, edgecolor="white")
    top = max(share.max(initial=0.0), 1e-3)
    histogram.set(ylabel="Share", xlabel="Confidence", ylim=(0, top), yticks=(0, top))
    histogram.yaxis.set_major_formatter("{x:.2g}")


def _figures(statistics: BinStatistics) -> str:
    low, high = statistics.ece_interval()
    figures = {
        "ECE": f"{statistics.ece():.4f}",
        "95%": f"{low:.3f}-{high:.3f}",
        "gap": f"{statistics.gap():+.4f}",
    }
    if statistics.squared_error is not None:
        figures["Brier, top"] = f"{statistics.brier_score():.4f}"
    return "\n".join(f"{name:10}{figure:>11}" for name, figure in figures.items())
