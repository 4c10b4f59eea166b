"""Two models on the same samples, with paired intervals of their differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_calib.arguments import boolean, in_range
from keras_calib.evaluation.answer import Evaluation
from keras_calib.evaluation.batches import Batch, in_chunks, shown
from keras_calib.evaluation.figures import FIGURES
from keras_calib.evaluation.multilabel import sums_of
from keras_calib.evaluation.per_sample import values_of
from keras_calib.evaluation.settings import Settings
from keras_calib.metrics import BinStatistics
from keras_calib.metrics.tables import html_table, text_table
from keras_calib.ops.arrays import require
from keras_calib.ops.binning import bin_index
from keras_calib.ops.floats import in_float64, in_numpy

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "Difference", "compare"]


class Difference(NamedTuple):
    """A figure of two models, and how it differs.

    Attributes:
        first: the figure of the first model.
        second: that of the second.
        difference: second minus first.
        low: the lower end of the paired interval of the difference; -inf for one
            sample.
        high: its upper end; inf for one sample.
        better: the name of the better model if the interval excludes 0, else empty, as
            always for the gap, which has no better direction.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    better: str


class Comparison(dict[str, Difference]):
    """The differences of two models by figure, printed as a table.

    Attributes:
        evaluations: the `Evaluation` of each by name.
        level: the level of the intervals.

    Example:

    >>> import keras_calib
    >>> sure, unsure = np.tile([[0.9, 0.1]], (100, 1)), np.tile([[0.6, 0.4]], (100, 1))
    >>> y = [0, 0, 1, 0] * 25
    >>> found = keras_calib.compare(y, {"sure": sure, "unsure": unsure})
    >>> print(found)
                     figure    sure   unsure  difference      95 % interval  better
                   accuracy  0.7500   0.7500     +0.0000  +0.0000 to +0.0000
                        ece  0.1500   0.1500     +0.0000  -0.1727 to +0.1727
            calibration_gap  0.1500  -0.1500     -0.3000  -0.3000 to -0.3000
    negative_log_likelihood  0.6547   0.6122     -0.0425  -0.1972 to +0.1122
                brier_score  0.4200   0.4200     +0.0000  -0.1036 to +0.1036
    """

    def __init__(
        self,
        differences: Mapping[str, Difference],
        evaluations: dict[str, Evaluation],
        level: float,
    ) -> None:
        super().__init__(differences)
        self.evaluations, self.level = evaluations, level

    @property
    def names(self) -> list[str]:
        """The names of the models."""
        return list(self.evaluations)

    def to_dict(self) -> dict[str, Any]:
        """Returns the names, the level and the differences, for JSON."""
        rows = {name: found._asdict() for name, found in self.items()}
        return {"names": self.names, "level": self.level, "differences": rows}

    def to_frame(self) -> pd.DataFrame:
        """Returns a pandas table with one row per figure, which needs pandas."""
        import pandas as pd

        rows = {name: found._asdict() for name, found in self.items()}
        named = dict(zip(("first", "second"), self.names, strict=True))
        frame = pd.DataFrame.from_dict(rows, orient="index")
        return frame.rename(columns=named).rename_axis("figure")

    def __str__(self) -> str:
        return text_table(*self._cells())

    def _repr_html_(self) -> str:
        return html_table(*self._cells())

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        header = ["figure", *self.names, "difference"]
        header += [f"{100 * self.level:g} % interval", "better"]
        form = "{first:z.4f}|{second:z.4f}|{difference:+z.4f}|"
        form += "{low:+z.4f} to {high:+z.4f}"
        rows = [
            [name, *form.format(**found._asdict()).split("|"), found.better]
            for name, found in self.items()
        ]
        return header, rows


def compare(
    y_true: Any,
    y_pred: Mapping[str, Any],
    *,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = None,
    axis: int = -1,
    num_bins: int = 15,
    exact: bool | None = None,
    top_label_only: bool = False,
    multilabel: bool = False,
    level: float = 0.95,
    verbose: bool | None = None,
    validate: bool = True,
) -> Comparison:
    """Compares two models on the same samples.

    Each difference has a paired interval: both models see the same samples, so that
    what makes a sample hard for both cancels. The intervals are t-intervals of means
    of values per sample. For the ECE, the value of a sample is its contribution,
    sign(gap of its bin) times (confidence - hit); this interval takes the bins as they
    are, and is an approximation where gaps are near 0.

    Args:
        y_true: labels, as `evaluate` takes them.
        y_pred: the predictions of two models by name, of the same shape.
        from_logits: whether `y_pred` are logits.
        sample_weight: weights.
        ignore_class: integer label whose samples are ignored.
        axis: the axis of the classes, not the first.
        num_bins: the number of bins.
        exact: whether to sort all confidences, as for `evaluate`.
        top_label_only: whether to compare only what depends on the top label.
        multilabel: whether `y_pred` are of independent labels, as for `evaluate`.
        level: the level of the intervals.
        verbose: whether to show a progress bar; by default for more than one chunk.
        validate: whether to check the values of labels, predictions and weights.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: unless there are two models, and for what `evaluate` refuses.

    Example:

    >>> import keras_calib
    >>> y, p = [0, 1], np.array([[0.8, 0.2], [0.7, 0.3]])
    >>> found = keras_calib.compare(y, {"old": p, "new": p[:, ::-1]})
    >>> round(found["brier_score"].difference, 6)
    0.2
    """
    level = in_range("level", level, 1e-9, 1 - 1e-9)
    from_logits = boolean("from_logits", from_logits)
    settings = Settings(
        ignore_class,
        axis,
        num_bins,
        exact=exact,
        validate=validate,
        top_label_only=top_label_only,
        multilabel=multilabel,
    )
    several = isinstance(y_pred, Mapping) and len(y_pred) == 2
    require(
        several,
        "`y_pred` must be the predictions of two models by name, as "
        '{"old": p, "new": q}',
        f"{list(y_pred)}" if isinstance(y_pred, Mapping) else type(y_pred).__name__,
    )
    how: dict[str, Any] = {"from_logits": from_logits, "multilabel": multilabel}
    wholes = [Batch.of(y_true, p, sample_weight, **how) for p in y_pred.values()]
    shapes = [tuple(whole.y_pred.shape) for whole in wholes]
    require(
        shapes[0] == shapes[1],
        "the predictions of both models must have the same shape",
        f"{shapes}",
    )
    pair = _Pair(settings)
    first, second = map(in_chunks, ([whole] for whole in wholes))
    for chunk in zip(shown(first, len(wholes[0]), verbose), second, strict=True):
        for samples in chunk:
            settings.check(samples)
        pair.add(*chunk)
    return pair.comparison(list(map(str, y_pred)), level)


class _Pair:
    """Sums of two models, and of the differences of their values per sample.

    Args:
        settings: how samples are read and what is measured.
    """

    def __init__(self, settings: Settings) -> None:
        self._bins = settings.num_bins
        self._models = sums_of(settings), sums_of(settings)
        # The sums of the differences and of their squares.
        self._sums: dict[str, np.ndarray] = {}
        # The sums of the products of both residuals, by the bins of both.
        self._products = np.zeros((self._bins, self._bins))

    @in_float64
    def add(self, *chunk: Batch) -> None:
        """Adds a chunk of each model, of the same samples."""
        batches = [m.add(c) for m, c in zip(self._models, chunk, strict=True)]
        weight = batches[0].sample_weight
        w = np.ones(len(batches[0].scores)) if weight is None else in_numpy(weight)
        counts = w != 0
        values = [
            {k: x[counts] for k, x in values_of(batch).items()} for batch in batches
        ]
        w = w[counts]
        for name in values[0]:
            d = values[1][name] - values[0][name]
            sums = np.array([(w * d).sum(), (w * d * d).sum()])
            self._sums[name] = self._sums.get(name, 0.0) + sums
        one, other = (
            bin_index(in_numpy(b.confidence)[counts], self._bins, b.precision)
            for b in batches
        )
        product = w * values[0]["calibration_gap"] * values[1]["calibration_gap"]
        cell = one * self._bins + other
        self._products += np.bincount(cell, product, self._bins * self._bins).reshape(
            self._bins, self._bins
        )

    def comparison(self, names: list[str], level: float) -> Comparison:
        """Returns the differences."""
        found = [model.evaluation() for model in self._models]
        total = found[0].statistics.total
        squares = {name: sums[1] for name, sums in self._sums.items()}
        squares["ece"] = self._ece_square(*(each.statistics for each in found))
        differences = {}
        for figure in FIGURES:
            if figure.name in squares and figure.name in found[0]:
                a, b = (each[figure.name] for each in found)
                variance = squares[figure.name] / total - (b - a) ** 2
                half = _half_width(variance, total, level)
                ends = b - a - half, b - a + half
                better = _better(figure.better, *ends)
                differences[figure.name] = Difference(
                    a, b, b - a, *ends, names[better] if better is not None else ""
                )
        return Comparison(differences, dict(zip(names, found, strict=True)), level)

    def _ece_square(self, a: BinStatistics, b: BinStatistics) -> float:
        """Sums (s_b r_b - s_a r_a)^2 with the residuals r and the signs s of bins."""
        signs = [np.sign(s.confidence - s.hits) for s in (a, b)]
        alone = sum(
            float((sign**2 * s.sums.squared_error).sum())
            for sign, s in zip(signs, (a, b), strict=True)
        )
        return alone - 2 * float(signs[0] @ self._products @ signs[1])


def _half_width(variance: float, total: float, level: float) -> float:
    """Returns half the t-interval of a mean, infinite for a single sample."""
    from scipy.special import stdtrit  # seldom needed

    if total <= 1:
        return math.inf
    quantile = stdtrit(total - 1, (1 + level) / 2)
    return float(quantile * np.sqrt(max(variance, 0.0) / (total - 1)))


def _better(better: str, low: float, high: float) -> int | None:
    """Returns the index of the better model, `None` if it is not clear."""
    if low <= 0 <= high or better not in ("higher", "lower"):
        return None
    return int((low > 0) == (better == "higher"))
