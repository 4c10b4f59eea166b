"""The report on a calibration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_calib.metrics import BinStatistics
from keras_calib.metrics.tables import html_table

if TYPE_CHECKING:
    from keras_calib.viz import ReliabilityDisplay

__all__ = ["CalibrationReport"]

Figures = dict[str, float]


@dataclass(frozen=True)
class CalibrationReport:
    """What calibration changed.

    On the samples that it was fitted to, a calibrator looks better than on others. In
    cross-validation each sample is measured with a calibrator that was fitted to the
    other folds. The cross-validated figures hold for new samples, provided that the
    model was not trained on the samples used here. The figures of `test` are those of
    the returned model, on samples that nothing was fitted to.

    Figures are `"nll"`, `"brier"` (the sum over classes) and `"ece"` (top-label, 15
    bins of equal width), each with the ends of its 95 % interval, `"nll_low"` and
    `"nll_high"`. The intervals of `"nll"` and `"brier"` are those of a mean over the
    samples, that of `"ece"` is `BinStatistics.ece_interval`. They ignore that other
    samples would have led to another calibrator.

    Args:
        method: the method.
        before: the figures of the model.
        after: the figures of the calibrated model, in the dtype that it computes in, on
            the samples that it was fitted to.
        held_out: with `method="auto"`, the cross-validated mean negative
            log-likelihood of each candidate, and that of the model under
            `"uncalibrated"`.
        cross_validated: the figures of the method on samples that it was not fitted to.
        test_before: the figures of the model on the test samples.
        test_after: the figures of the calibrated model on the test samples.
        bins: the bins that `plot` draws: the arguments of a `BinStatistics` by the
            title of its diagram.
    """

    method: str
    before: Figures
    after: Figures
    held_out: Figures = field(default_factory=dict)
    cross_validated: Figures = field(default_factory=dict)
    test_before: Figures = field(default_factory=dict)
    test_after: Figures = field(default_factory=dict)
    bins: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def plot(self, ax: Any = None) -> ReliabilityDisplay:
        """Draws the reliability of the model before and after calibration.

        The diagrams are of the test samples, if there are any; otherwise "after" is
        cross-validated.

        Args:
            ax: two matplotlib axes; a new figure by default.
        """
        from keras_calib.viz import reliability_diagram

        statistics = {}
        for title, bins in self.bins.items():
            arrays: Any = {name: np.array(sums) for name, sums in bins.items()}
            statistics[title] = BinStatistics(**arrays)
        return reliability_diagram(statistics, ax=ax)

    def __str__(self) -> str:
        return "\n\n".join(
            "\n".join(
                f"{name:<35}" + "".join(f"{cell:>24}" for cell in cells)
                for name, *cells in table
            )
            for table in self._tables()
        )

    def _repr_html_(self) -> str:
        return "".join(html_table(header, rows) for header, *rows in self._tables())

    def _tables(self) -> list[list[list[str]]]:
        """Returns the rows of each table, its header first."""
        names = {"nll": "NLL", "brier": "Brier", "ece": "ECE"}
        table = [["", *names.values()]]
        rows = {
            "before": self.before,
            f"{self.method}, in-sample": self.after,
            f"{self.method}, cross-validated": self.cross_validated,
            "before, test": self.test_before,
            f"{self.method}, test": self.test_after,
        }
        for title, figures in rows.items():
            if figures:
                table.append([title, *(_cell(figures, name) for name in names)])
        if not self.held_out:
            return [table]
        ranked = sorted(self.held_out.items(), key=lambda item: item[1])
        held_out = [[name, f"{nll:.5f}"] for name, nll in ranked]
        return [table, [["held-out NLL", ""], *held_out]]


def _cell(figures: Figures, name: str) -> str:
    """Returns a figure, with its interval where it is known."""
    if name not in figures:
        return ""
    text = f"{figures[name]:.5f}"
    if f"{name}_low" in figures:
        low, high = figures[f"{name}_low"], figures[f"{name}_high"]
        text += f" ({low:.3f}-{high:.3f})"
    return text


def as_arguments(bins: BinStatistics) -> dict[str, list[float]]:
    """Returns the arguments that rebuild the statistics, as lists."""
    names = "weight", "confidence", "hits", "squared_error", "edges"
    return {name: getattr(bins, name).tolist() for name in names}
