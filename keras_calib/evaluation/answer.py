"""The result of `evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_calib import viz
from keras_calib.arguments import counted
from keras_calib.evaluation.figures import FIGURES, Figure
from keras_calib.metrics import BinStatistics
from keras_calib.metrics.tables import html_table

if TYPE_CHECKING:
    import pandas as pd

    from keras_calib.evaluation.slices import Slices

__all__ = ["Evaluation"]


class Evaluation(dict[str, float]):
    """Figures by name, printed in groups, with what is better: higher or lower.

    Attributes:
        statistics: the `BinStatistics` of the top label over equal-width bins.
        fine_statistics: the same over 4608 fine bins, from which `equal_mass` cuts its
            bins, and which `risk_coverage` and `coverage_at_risk` read.
        n: the number of samples that count.
        num_classes: the number of classes.
        num_labels: the number of independent labels; 0 if there are classes instead.
        class_sums: the sums over the bins of the probability of every class or label.
        coverage: the fraction of samples of `accuracy_at_coverage`.
        exact: whether all confidences were sorted. If not, the figures that depend on
            their order come from fine bins.
        error_bounds: by name, how far fine bins may have moved a figure; empty if
            `exact`.
        members: of an ensemble, the `Evaluation` of each member.
        slices: the `Slices`, if `by` was given, else `None`.

    Example:

    >>> import keras_calib
    >>> found = keras_calib.evaluate([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> print("\\n".join(str(found).splitlines()[:6]))
    2 samples, 2 classes, 15 bins      value  better
    accuracy
      accuracy                        0.5000  higher
    calibration
      ece                             0.4500  lower     l1; 95 %: 0.0000 to 1.0000
      ece_l2                          0.5148  lower     l2
    """

    def __init__(
        self,
        figures: dict[str, float],
        statistics: BinStatistics,
        fine_statistics: BinStatistics,
        *,
        n: int,
        num_classes: int,
        num_labels: int = 0,
        class_sums: Sequence[np.ndarray] = (),
        coverage: float = 0.9,
        exact: bool = True,
        error_bounds: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(figures)
        self.statistics, self.fine_statistics = statistics, fine_statistics
        self.n, self.num_classes, self.num_labels = int(n), num_classes, num_labels
        self.class_sums = class_sums
        self.coverage, self.exact = coverage, exact
        self.error_bounds = dict(error_bounds or {})
        self.members: list[Evaluation] = []
        self.slices: Slices | None = None

    @property
    def per_class(self) -> list[BinStatistics]:
        """The statistics of the probability of every class, or of every label.

        `reliability_diagram(found.per_class)` draws them as a grid.
        """
        return [BinStatistics(*sums) for sums in zip(*self.class_sums, strict=True)]

    def mean_of_members(self) -> dict[str, float]:
        """Returns the means of the members' own figures; empty without an ensemble."""
        names = self.members[0] if self.members else ()
        return {
            name: sum(member[name] for member in self.members) / len(self.members)
            for name in names
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns figures, settings and bins as plain numbers, for JSON."""
        return {
            "n": self.n,
            "num_classes": self.num_classes,
            "num_labels": self.num_labels,
            "num_bins": self.statistics.num_bins,
            "coverage": self.coverage,
            "exact": self.exact,
            "error_bounds": self.error_bounds,
            "figures": dict(self),
            "per_class_ece": [statistics.ece() for statistics in self.per_class],
            "members": [member.to_dict() for member in self.members],
            "slices": {str(k): v.to_dict() for k, v in (self.slices or {}).items()},
            "statistics": self.statistics.to_dict(),
        }

    def to_frame(self) -> pd.DataFrame:
        """Returns a pandas table with one row per figure, which needs pandas.

        Its columns are `group`, `value`, `low` and `high` (the ends of the 95 %
        interval, NaN if unknown), `better` and `note`.
        """
        import pandas as pd

        rows = [
            {
                "figure": figure.name,
                "group": figure.group,
                "value": self[figure.name],
                "low": self.get(f"{figure.name}_low", float("nan")),
                "high": self.get(f"{figure.name}_high", float("nan")),
                "better": figure.better,
                "note": figure.note,
            }
            for figure in self._shown()
        ]
        return pd.DataFrame(rows).set_index("figure")

    def plot(self, **kwargs: Any) -> viz.ReliabilityDisplay:
        """Draws the reliability diagram of the top label.

        Args:
            **kwargs: arguments of `ReliabilityDisplay.from_statistics`.
        """
        return viz.ReliabilityDisplay.from_statistics(self, **kwargs)

    def __str__(self) -> str:
        lines = []
        for name, *values, better, note in self._lines():
            cells = [f"{name:<30}", *(f"{v:>9}" for v in values), f"{better:<8}", note]
            lines.append("  ".join(cells).rstrip())
        if self.slices is not None:
            lines += ["", str(self.slices)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        table = self.html_table()
        return table if self.slices is None else table + self.slices._repr_html_()

    def html_table(self) -> str:
        """Returns the figures as an HTML table, without those of slices."""
        first, *rows = self._lines()
        # A group has no figure of its own.
        cells = ([c.strip() for c in row] if any(row[1:]) else row[:1] for row in rows)
        return html_table(first, cells)

    def html_table_of_classes(self, names: Sequence[str] = ()) -> str:
        """Returns an HTML table of the probability and errors of each class or label.

        Args:
            names: the names of the classes, by default their numbers.
        """
        rows = []
        for k, statistics in enumerate(self.per_class):
            rate, gap = statistics.equal_mass(1).accuracy[0], statistics.gap()
            name = names[k] if len(names) == len(self.per_class) else str(k)
            cells = f"{rate + gap:.4f} {rate:.4f} {statistics.ece():.4f} {gap:+.4f}"
            rows.append([name, *cells.split()])
        return html_table(
            ["class", "mean probability", "frequency", "ece", "gap"], rows
        )

    def _lines(self) -> Iterator[list[str]]:
        """Yields the cells of the table: name, values, what is better, and a note."""
        columns = [self, *[self.mean_of_members()][: len(self.members)]]
        names = ["value", "members"][: len(columns)]
        yield [self._title(), *names, "better", ""]
        group = ""
        for figure in self._shown():
            if figure.group != group:
                group = figure.group
                yield [group, *[""] * len(columns), "", ""]
            sign = "+" if figure.better == "nearer 0" else ""
            values = [
                f"{c[figure.name]:{sign}.4f}" if figure.name in c else ""
                for c in columns
            ]
            yield [f"  {figure.name}", *values, figure.better, self._note(figure)]

    def _shown(self) -> Iterator[Figure]:
        return (figure for figure in FIGURES if figure.name in self)

    def _title(self) -> str:
        what = f"{counted(self.n, 'sample')}, {self.num_classes} classes"
        if self.num_labels:
            labels = counted(self.num_labels, "label")
            what = f"{counted(self.n, 'outcome')} of {labels}"
        return f"{what}, {counted(self.statistics.num_bins, 'bin')}"

    def _note(self, figure: Figure) -> str:
        notes = [figure.note]
        if f"{figure.name}_low" in self:
            low, high = (self[f"{figure.name}_{end}"] for end in ("low", "high"))
            notes.append(f"95 %: {low:.4f} to {high:.4f}")
        if figure.name in self.error_bounds:
            notes.append(f"± {self.error_bounds[figure.name]:.1g} by fine bins")
        return "; ".join(filter(None, notes))
