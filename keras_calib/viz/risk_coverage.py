"""The error rate of the most confident samples, against their share of all samples."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any, Self

import numpy as np

from keras_calib.metrics import BinStatistics
from keras_calib.viz.display import COLORS, Display, new_axes

__all__ = ["RiskCoverageDisplay", "risk_coverage"]


class RiskCoverageDisplay(Display):
    """Risk-coverage curves: what a model gains if it may abstain.

    The risk is the error rate of the most confident samples, the coverage the fraction
    of all samples that they make up. The curve of a model whose confidence tells right
    predictions from wrong ones rises from 0 at the left to the error rate of all at the
    right; a flat one means that confidence says nothing about errors. The area below it
    is the AURC.

    Args:
        found: an `Evaluation`, or anything else that has `fine_statistics` or
            `statistics`, or a `BinStatistics`; or several by name, drawn on the same
            axes. The finer the bins, the finer the curve.

    Attributes:
        statistics: the `BinStatistics` by name.
        ax_: the axes, after `plot`.
        figure_: the figure, after `plot`.

    Raises:
        ValueError: if there is nothing to draw, or it holds NaN.

    Example:

    >>> import keras_calib
    >>> found = keras_calib.evaluate([0, 1, 1], [[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    >>> keras_calib.viz.risk_coverage({"model": found}).ax_.get_xlabel()
    'Coverage'
    """

    def __init__(self, found: Any) -> None:
        several = isinstance(found, Mapping) and not hasattr(found, "statistics")
        given = found if several else {"": found}
        self.statistics = {str(name): _finest(each) for name, each in given.items()}
        if not self.statistics:
            raise ValueError("there must be at least one curve. Received: none")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.statistics)})"

    def plot(self, ax: Any = None) -> Self:
        """Draws the curves, and returns the display.

        Args:
            ax: matplotlib axes; a new figure by default.
        """
        if ax is None:
            ax = new_axes(figsize=(4.5, 3.6), layout="constrained")
        models = zip(self.statistics.items(), cycle(COLORS), strict=False)
        for (name, statistics), color in models:
            coverage, risk = statistics.risk_coverage()
            ax.plot(coverage, risk, color=color, label=name or None)
        ax.set(xlabel="Coverage", ylabel="Risk (error rate)", xlim=(0, 1))
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3)
        if any(self.statistics):
            ax.legend(frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def risk_coverage(found: Any, ax: Any = None) -> RiskCoverageDisplay:
    """Draws risk-coverage curves.

    Args:
        found: an `Evaluation`, a `BinStatistics`, or several by name.
        ax: matplotlib axes; a new figure by default.

    Returns:
        A `RiskCoverageDisplay`, drawn.

    Raises:
        ValueError: if there is nothing to draw, or it holds NaN.

    Example:

    >>> import keras_calib
    >>> found = keras_calib.evaluate([0, 1, 1], [[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    >>> figure = keras_calib.viz.risk_coverage(found).figure_
    """
    return RiskCoverageDisplay(found).plot(ax)


def _finest(found: Any) -> BinStatistics:
    """Returns the statistics over the finest bins that there are."""
    for name in ("fine_statistics", "statistics"):
        if hasattr(found, name):
            found = getattr(found, name)
            found = found() if callable(found) else found
            break
    if not isinstance(found, BinStatistics) or not np.isfinite(found.hits).all():
        raise ValueError(
            "a curve needs an Evaluation, a metric with bins or a BinStatistics, "
            f"without NaN. Received: {found!r}"
        )
    return found
