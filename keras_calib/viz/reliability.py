"""Reliability diagrams."""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import cycle
from typing import Any, Self, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_calib.arguments import boolean, one_of, whole_number
from keras_calib.metrics import BinaryECE, BinStatistics, ExpectedCalibrationError
from keras_calib.metrics.model_predictions import predictions_of
from keras_calib.ops.arrays import as_numbers, require, require_any
from keras_calib.ops.binary_batch import is_one_probability
from keras_calib.ops.calibration import Binning
from keras_calib.ops.validation import validate as check_arrays
from keras_calib.types import Tensor
from keras_calib.viz.display import BLUE, COLORS, GREEN, VERMILION, Display, new_axes
from keras_calib.viz.smooth import SmoothCurve, smooth_curve

__all__ = ["ReliabilityDisplay", "reliability_diagram"]

# A `BinStatistics`, or something that has one, or several by name.
Statistics: TypeAlias = Any

_GRAY = "#666666"

# Printed at half its size, the smallest text is 5 points high, which is legible.
_SMALLEST = 10

# The bandwidth of the smooth ECE is the error itself, at least 0.001. A large one would
# flatten the curve.
_BANDWIDTHS = 0.001, 0.05

# The most diagrams in a row.
_IN_A_ROW = 5


class ReliabilityDisplay(Display):
    """A reliability diagram: accuracy against confidence, bin by bin.

    Each bin has a dot at (mean confidence, accuracy) with the credible interval of
    the accuracy, and a bar from the dot to the diagonal, where a calibrated model
    lies: an orange bar below the diagonal is overconfident, a blue bar above it
    underconfident. The corner gives the expected calibration error with its 95 %
    interval, the gap (mean confidence minus accuracy) and the Brier score of the
    top label alone. Below is the histogram of the confidences.

    Args:
        statistics: a `BinStatistics`, or something that has one as `statistics`: a
            metric with bins, or an `Evaluation`; or several by name, which are drawn
            side by side. A metric of every class or label is drawn as one diagram for
            each. The color of a named model depends on its position, and is the same
            in every kind of figure.
        binning: `"equal_mass"` for bins that hold the same number of samples each; it
            needs an `Evaluation`, or a metric that has fine bins.
        level: probability of the credible intervals.

    Attributes:
        statistics: the `BinStatistics` by name.
        ax_: the axes, after `plot`; an array for several models.
        figure_: the figure, after `plot`.

    Raises:
        ValueError: if there are no statistics, if they hold NaN, for an unknown
            binning, and in `plot` for a level outside (0, 1), or if there is not one
            axes for each model.

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
        statistics: Statistics,
        *,
        binning: Binning = "equal_width",
        level: float = 0.95,
    ) -> None:
        one_of("binning", binning, Binning)
        self._colors = list(_colors_of(statistics))
        statistics = bins_of(statistics, binning == "equal_mass")
        if not statistics:
            raise ValueError(
                "`statistics` must hold at least one BinStatistics. Received: none"
            )
        for found in statistics.values():
            if not isinstance(found, BinStatistics):
                raise ValueError(
                    "`statistics` must be a BinStatistics, a metric with bins or an "
                    "Evaluation, or several by name; labels come with predictions: "
                    f"reliability_diagram(y_true, y_pred). Received: {found!r}"
                )
            if not np.isfinite([found.weight, found.confidence, found.hits]).all():
                raise ValueError(
                    "`statistics` must be finite: predictions that are NaN, and labels "
                    f"outside [0, K), cannot be drawn. Received: {statistics}"
                )
        self.statistics = dict(statistics)
        self.level = level

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.statistics)})"

    @classmethod
    def from_statistics(
        cls,
        statistics: Statistics,
        *,
        binning: Binning = "equal_width",
        smooth: bool = False,
        level: float = 0.95,
        ax: Any = None,
    ) -> Self:
        """Draws statistics.

        Args:
            statistics: a `BinStatistics`, a metric or an `Evaluation`, or several by
                name.
            binning: `"equal_mass"` for bins that hold the same number of samples each;
                it needs an `Evaluation`, or a metric that has fine bins.
            smooth: whether to draw the accuracy as a smooth curve with a band, too. It
                needs an `Evaluation`, and uses the kernel of the smooth ECE with a
                bandwidth of at most 0.05.
            level: probability of the credible intervals.
            ax: matplotlib axes, one for each model; a new figure by default.

        Raises:
            ValueError: as `ReliabilityDisplay`, and for a smooth curve of something
                other than an `Evaluation`.
        """
        curves = _curves_of(statistics, level) if boolean("smooth", smooth) else {}
        display = cls(statistics, binning=binning, level=level).plot(ax)
        for axes, curve in zip(np.ravel(display.ax_), curves, strict=False):
            _draw_curve(axes, curve)
        return display

    @classmethod
    def from_predictions(
        cls,
        y_true: Tensor,
        y_pred: Tensor | Mapping[str, Tensor],
        *,
        num_bins: int = 15,
        binning: Binning = "equal_width",
        from_logits: bool = False,
        sample_weight: Tensor = None,
        ignore_class: int | None = None,
        axis: int = -1,
        validate: bool = True,
        level: float = 0.95,
        ax: Any = None,
    ) -> Self:
        """Draws the calibration of the top label, or of label 1 of a binary problem.

        Args:
            y_true: integer labels, or targets of shape `(..., K)`.
            y_pred: predictions of shape `(..., K)`, or for a binary problem of
                shape `(N,)` or `(..., 1)`; or several by name.
            num_bins: the number of bins.
            binning: `"equal_width"`, or `"equal_mass"` for bins that hold the same
                number of samples each, cut from fine bins.
            from_logits: whether predictions are logits.
            sample_weight: one weight for each sample.
            ignore_class: integer label whose samples are left out.
            axis: the axis of the classes in predictions, and in targets.
            validate: whether to check labels, predictions and weights first.
            level: probability of the credible intervals.
            ax: matplotlib axes, one for each model; a new figure by default.

        Raises:
            ValueError: for impossible labels, predictions or weights. The message says
                what is allowed, and what to write instead.
        """
        if not isinstance(y_pred, Mapping):
            y_pred = {"": y_pred}
        reading: Any = {
            "from_logits": boolean("from_logits", from_logits),
            "ignore_class": ignore_class,
            "axis": whole_number("axis", axis, -math.inf),
        }
        found = {}
        for name, predictions in y_pred.items():
            given = [(y_true, predictions, sample_weight)]
            found[name] = _measured(given, num_bins, binning, validate, reading)
        return cls.from_statistics(found, level=level, ax=ax)

    @classmethod
    def from_model(
        cls,
        model: keras.Model | Mapping[str, keras.Model],
        x: Any,
        y: Any = None,
        *,
        num_bins: int = 15,
        binning: Binning = "equal_width",
        from_logits: bool | None = None,
        sample_weight: Any = None,
        ignore_class: int | None = None,
        axis: int = -1,
        batch_size: int = 32,
        validate: bool = True,
        level: float = 0.95,
        ax: Any = None,
    ) -> Self:
        """Draws the calibration of a model on data, as `evaluate_model` measures it.

        Args:
            model: a Keras model with one output, or several by name.
            x: inputs; or a list, a `tf.data.Dataset` or a `PyDataset` of batches
                `(x, y)` or `(x, y, sample_weight)`.
            y: labels, if `x` are inputs.
            num_bins: the number of bins.
            binning: `"equal_width"` or `"equal_mass"`.
            from_logits: whether the models return logits; by default as the compiled
                loss says, or if it does not say, by the values of the first batch.
            sample_weight: weights, if `x` are inputs.
            ignore_class: integer label whose samples are left out.
            axis: the axis of the classes in predictions, and in targets.
            batch_size: the number of samples in a batch, if `x` are inputs.
            validate: whether to check labels, predictions and weights.
            level: probability of the credible intervals.
            ax: matplotlib axes, one for each model; a new figure by default.

        Raises:
            ValueError: for a model of several outputs, and as `from_predictions`.
        """
        axis = whole_number("axis", axis, -math.inf)
        models = model if isinstance(model, Mapping) else {"": model}
        found = {}
        for name, each in models.items():
            batches, logits = predictions_of(
                each,
                x,
                y,
                sample_weight=sample_weight,
                from_logits=from_logits,
                batch_size=batch_size,
                verbose=False,
                axis=axis,
            )
            reading = dict(from_logits=logits, ignore_class=ignore_class, axis=axis)
            found[name] = _measured(batches, num_bins, binning, validate, reading)
        return cls.from_statistics(found, level=level, ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draws the diagram, and returns the display.

        Args:
            ax: matplotlib axes, one for each model; a new figure by default.
        """
        count = len(self.statistics)
        # Computed before a figure opens, because a level out of range raises here.
        intervals = [s.credible_intervals(self.level) for s in self.statistics.values()]
        if ax is None:
            columns = min(count, _IN_A_ROW)
            rows = math.ceil(count / columns)
            size = (4 * columns, 4.8 * rows)
            ax = new_axes(nrows=rows, ncols=columns, figsize=size, layout="tight")
            for unused in np.ravel(ax)[count:]:
                unused.remove()
            ax = np.ravel(ax)[:count]
        axes = np.ravel(ax)
        if len(axes) != count:
            raise ValueError(
                f"`ax` must hold one axes for each model, {count}. "
                f"Received: {len(axes)}"
            )
        parts = self.statistics.items(), self._colors, intervals
        for axis, (name, statistics), color, interval in zip(axes, *parts, strict=True):
            _draw(axis, name, statistics, color, *interval)
        for axis in axes:
            place = axis.get_subplotspec()
            if place is None or place.is_first_col():
                axis.set_ylabel("Accuracy")
        self.ax_ = axes if count > 1 else axes[0]
        self.figure_ = axes[0].figure
        return self


def reliability_diagram(
    y_true: Any,
    y_pred: Tensor | Mapping[str, Tensor] | None = None,
    y: Any = None,
    **kwargs: Any,
) -> ReliabilityDisplay:
    """Draws a reliability diagram of statistics, of predictions, or of a model on data.

    `reliability_diagram(found)` draws what was measured,
    `reliability_diagram(y_true, y_pred)` predictions, and
    `reliability_diagram(model, x, y)` or `(model, dataset)` those of a model.

    Args:
        y_true: labels; a Keras model, or several by name; or, as the only positional
            argument, a `BinStatistics`, a metric with bins or an `Evaluation`, or
            several of them by name.
        y_pred: predictions of shape `(..., K)`, or several by name; the data of a
            model.
        y: the labels of a model's data, unless they are in it.
        **kwargs: arguments of `ReliabilityDisplay.from_statistics`, of
            `from_predictions` or of `from_model`.

    Returns:
        A `ReliabilityDisplay`, drawn.

    Raises:
        ValueError: for a model without data, for labels without predictions, for a `y`
            without a model, and as the methods of `ReliabilityDisplay`.

    Example:

    >>> import keras_calib
    >>> ece = keras_calib.ExpectedCalibrationError(num_bins=5)
    >>> ece.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> figure = keras_calib.viz.reliability_diagram(ece.statistics()).figure_
    """
    several = isinstance(y_true, Mapping) and not hasattr(y_true, "statistics")
    models = list(y_true.values()) if several else [y_true]
    if models and all(isinstance(model, keras.Model) for model in models):
        require(
            y_pred is not None,
            "a model is drawn with data: reliability_diagram(model, x, y)",
            f"{y_true}",
        )
        return ReliabilityDisplay.from_model(y_true, y_pred, y, **kwargs)
    require(
        y is None,
        "a third argument is the labels of a model's data; weights are sample_weight=w",
        type(y).__name__,
    )
    if y_pred is None:
        ReliabilityDisplay(y_true)  # labels are refused, whatever the arguments
        return ReliabilityDisplay.from_statistics(y_true, **kwargs)
    return ReliabilityDisplay.from_predictions(y_true, y_pred, **kwargs)


def _measured(
    batches: Iterable[tuple[Any, ...]],
    num_bins: int,
    binning: Binning,
    validate: bool,
    reading: Any,
) -> BinStatistics:
    """Returns the bins of batches (labels, predictions, weights) of one model."""
    boolean("validate", validate)
    metric: Any = None
    for y_true, y_pred, weight in batches:
        if validate:
            check_arrays(y_true, y_pred, sample_weight=weight, **reading)
        if not ops.is_tensor(y_pred):  # which may have a Keras mask
            y_pred = as_numbers("y_pred", y_pred)
        if metric is None:
            binary = is_one_probability(y_pred, reading["axis"])
            kind: Any = BinaryECE if binary else ExpectedCalibrationError
            metric = kind(num_bins=num_bins, **reading)
            if one_of("binning", binning, Binning) == "equal_mass":
                metric.add_bins(None)
        if weight is not None:
            weight = as_numbers("sample_weight", weight)
        metric.update_state(as_numbers("y_true", y_true), y_pred, weight)
    require(metric is not None, "there must be at least one batch", "none")
    found: BinStatistics = metric.statistics()
    if validate:
        require_any(found.total)
    return found if binning == "equal_width" else found.equal_mass(num_bins)


def _colors_of(found: Any) -> Iterator[str]:
    """Yields the color of each diagram: for named models, by their position."""
    several = isinstance(found, Mapping) and not hasattr(found, "statistics")
    if not several or list(found) == [""]:
        yield from [_GRAY] * len(bins_of(found))
        return
    for each, color in zip(found.values(), cycle(COLORS), strict=False):
        yield from [color] * len(bins_of(each))


def _curves_of(found: Any, level: float) -> list[SmoothCurve]:
    """Returns the smooth curve of each evaluation."""
    several = isinstance(found, Mapping) and not hasattr(found, "statistics")
    curves = []
    for each in found.values() if several else [found]:
        if not isinstance(each, Mapping) or "smooth_ece" not in each:
            raise ValueError(
                "a smooth curve needs an Evaluation, which has its bandwidth: "
                "reliability_diagram(evaluate(y_true, y_pred), smooth=True). Received: "
                f"{type(each).__name__}"
            )
        fine: Any = each
        bandwidth = float(np.clip(each["smooth_ece"], *_BANDWIDTHS))
        curves.append(smooth_curve(fine.fine_statistics, bandwidth, level))
    return curves


def _draw_curve(ax: Any, curve: SmoothCurve) -> None:
    look = {"color": GREEN, "lw": 0, "alpha": 0.3, "zorder": 2.5}
    ax.fill_between(curve.confidence, curve.low, curve.high, **look)
    ax.plot(curve.confidence, curve.accuracy, color=GREEN, lw=1.5, zorder=3)


def bins_of(found: Any, equal_mass: bool = False) -> dict[str, Any]:
    """Returns the statistics of what is drawn, by name.

    Args:
        found: a `BinStatistics`, something that has one as `statistics`, a list of
            them, one for each class, or a mapping of these.
        equal_mass: whether to cut bins of equal weight out of the fine ones.
    """
    if isinstance(found, Mapping) and not hasattr(found, "statistics"):
        several: dict[str, Any] = {}
        for name, each in found.items():
            for part, statistics in bins_of(each, equal_mass).items():
                several[" ".join(filter(None, (str(name), part)))] = statistics
        return several
    count = getattr(found, "num_bins", 15)
    count = getattr(getattr(found, "statistics", None), "num_bins", count)
    if equal_mass:
        found = getattr(found, "fine_statistics", found)
    found = getattr(found, "statistics", found)
    found = found() if callable(found) else found
    if equal_mass and isinstance(found, BinStatistics):
        found = found.equal_mass(count)
    if isinstance(found, list) and found and isinstance(found[0], BinStatistics):
        return {f"class {k}": statistics for k, statistics in enumerate(found)}
    return {"": found}


def _draw(
    ax: Any,
    name: str,
    statistics: BinStatistics,
    color: str,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    used = statistics.weight > 0
    left, width = statistics.edges[:-1], np.diff(statistics.edges)
    confidence, accuracy = statistics.mean_confidence, statistics.accuracy

    ax.plot([0, 1], [0, 1], "--", color=_GRAY, linewidth=1, zorder=1)
    bars = np.stack([left, accuracy - confidence, width, confidence])
    for which, side, hatch, label in (
        (used & (confidence > accuracy), VERMILION, "///", "overconfident"),
        (used & (confidence < accuracy), BLUE, "\\\\\\", "underconfident"),
    ):
        if which.any():
            look = {"color": (side, 0.25), "edgecolor": side, "hatch": hatch}
            ax.bar(*bars[:, which], align="edge", lw=0.6, zorder=2, label=label, **look)
    dots = {"color": "black", "zorder": 4, "clip_on": False}
    ax.vlines(confidence[used], low[used], high[used], lw=1, **dots)
    ax.plot(confidence[used], accuracy[used], "o", ms=4, **dots)

    # Figures and key share one legend, which is placed where it hides least.
    box = ax.legend(
        *ax.get_legend_handles_labels(),
        title=_figures(statistics),
        title_fontproperties={"family": "monospace", "size": _SMALLEST},
        fontsize=_SMALLEST,
        edgecolor="none",
        framealpha=0.8,
    )
    box.set_zorder(5)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set_title(name, color=color)
    ax.tick_params(labelbottom=False)

    histogram = make_axes_locatable(ax).append_axes("bottom", "20%", 0.15, sharex=ax)
    fraction = statistics.weight / max(statistics.total, 1e-300)
    histogram.bar(left, fraction, width, align="edge", color=color, edgecolor="white")
    top = max(fraction.max(initial=0.0), 1e-3)
    histogram.set(
        ylabel="Fraction", xlabel="Confidence", ylim=(0, top), yticks=(0, top)
    )
    histogram.yaxis.set_major_formatter("{x:.2g}")


def _figures(statistics: BinStatistics) -> str:
    if not statistics.total:
        return "no samples"
    low, high = statistics.ece_interval()
    figures = {
        "ECE": f"{statistics.ece():.4f}",
        "95%": f"{low:.3f}-{high:.3f}",
        "gap": f"{statistics.gap():+.4f}",
    }
    if statistics.squared_error is not None:
        figures["Brier, top"] = f"{statistics.brier_score():.4f}"
    return "\n".join(f"{name:10}{figure:>11}" for name, figure in figures.items())
