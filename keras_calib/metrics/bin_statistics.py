"""The weight and the sums of confidence, hits and squared errors of each bin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any

import numpy as np

from keras_calib.arguments import in_range, one_of, whole_number
from keras_calib.metrics import intervals
from keras_calib.metrics.tables import html_table, text_table
from keras_calib.ops import calibration
from keras_calib.ops.arrays import as_numbers, require, require_weights
from keras_calib.ops.batch import read_scores
from keras_calib.ops.binning import equal_width_edges
from keras_calib.ops.calibration import BinSums, Norm, ratio
from keras_calib.ops.events import Events
from keras_calib.ops.floats import divide_no_nan
from keras_calib.ops.ranked import equal_mass_cuts, equal_mass_sums

__all__ = ["BinStatistics"]


@dataclass(frozen=True, eq=False, repr=False)
class BinStatistics:
    """Sums over bins of confidence, from which all figures of calibration are computed.

    Statistics of separate batches, replicas, hosts or files add up with `+`. Bin i
    is [edges[i], edges[i+1]), and the last bin is closed. Weights are counts: a
    weight of 3 is three samples.

    Formulas, with weight n_m, confidence c_m and accuracy a_m (both means) of bin
    m, and N the sum of n_m:

    ```
    ece:  sum_m n_m / N |c_m - a_m| = overconfidence + underconfidence
    gap:  sum_m n_m / N (c_m - a_m) = overconfidence - underconfidence
    ```

    This is the ECE of norm `"l1"`. `"l2"` is the root mean square of c_m - a_m, and
    `"max"` the largest |c_m - a_m|.

    Args:
        weight: sum of the weights of each bin, of shape (M,).
        confidence: weighted sum of the confidences of each bin.
        hits: weighted sum of the hits (0 or 1, or a fraction) of each bin.
        squared_error: weighted sum of (confidence - hit)^2 of each bin, which the
            Brier score and the interval of the error need; `None` if unknown.
        edges: the M + 1 edges; by default i/M.

    Raises:
        ValueError: if the shapes differ, or if statistics of other bins are added.

    Example:

    >>> from keras_calib.metrics import BinStatistics
    >>> statistics = BinStatistics.from_predictions([0.2, 0.7, 0.8], [0, 0, 1], 2)
    >>> statistics += statistics
    >>> statistics
    BinStatistics(num_bins=2, total=6, ece=0.2333, gap=+0.2333)
    >>> print(statistics)
             bin  weight  confidence  accuracy      gap  95% of accuracy
    0.000-0.500       2      0.2000    0.0000  +0.2000      0.000-0.667
    0.500-1.000       4      0.7500    0.5000  +0.2500      0.123-0.877
    >>> round(statistics.ece(), 6), round(statistics.gap(), 6)
    (0.233333, 0.233333)
    """

    weight: np.ndarray
    confidence: np.ndarray
    hits: np.ndarray
    squared_error: np.ndarray | None = None
    _: KW_ONLY
    edges: np.ndarray = None  # type: ignore[assignment]  # __post_init__ sets it

    def __post_init__(self) -> None:
        if self.edges is None:
            object.__setattr__(
                self, "edges", equal_width_edges(max(np.size(self.weight), 1))
            )
        for field in fields(self):
            if (value := getattr(self, field.name)) is not None:
                value = np.array(value, "float64")
                value.setflags(write=False)
                object.__setattr__(self, field.name, value)
        shapes = [v.shape for v in self.sums if v is not None]
        if set(shapes) != {(len(self.edges) - 1,)}:
            raise ValueError(
                "weight, confidence, hits and squared_error must have one shape "
                f"(num_bins,), and edges must have shape (num_bins + 1,). Received: "
                f"{shapes} and {self.edges.shape}"
            )

    @classmethod
    def from_predictions(
        cls,
        confidence: Any,
        hit: Any,
        num_bins: int = 15,
        sample_weight: Any = None,
        *,
        validate: bool = True,
    ) -> BinStatistics:
        """Computes the statistics of arrays, in float64.

        A confidence lies on an edge if it is the float nearest to i/M in its own
        dtype.

        Args:
            confidence: confidences in [0, 1], of shape (N,).
            hit: 1 if the prediction was right, else 0; or a fraction.
            num_bins: the number of equal-width bins.
            sample_weight: one weight per sample.
            validate: whether to check that all are in range.

        Raises:
            ValueError: if the shapes differ, and if confidences or hits are not in
                [0, 1], or weights are negative, infinite or NaN.
        """
        num_bins = whole_number("num_bins", num_bins)
        scores = as_numbers("confidence", confidence)
        scores, _, precision = read_scores(scores, False, "float64")
        hit, weight = as_numbers("hit", hit).astype("float64"), sample_weight
        if weight is not None:
            weight = as_numbers("sample_weight", weight).astype("float64")
        shapes = [np.shape(x) for x in (scores, hit, weight) if x is not None]
        if set(shapes) != {(scores.size,)}:
            raise ValueError(
                "confidence, hit and sample_weight must have one shape (N,). "
                f"Received: {', '.join(map(str, shapes))}"
            )
        if validate:
            counts = ... if weight is None else require_weights(weight) > 0
            for x, message in (
                (scores[counts], "confidence is not in [0, 1]: give probabilities"),
                (hit[counts], "hit is not in [0, 1]: it is 1 for a right prediction"),
            ):
                require(((x >= 0) & (x <= 1 + 1e-6)).all(), message, x)
        events = Events(scores, hit, weight, precision=precision)
        return cls(*events.sums(num_bins))

    @classmethod
    def from_table(
        cls, rows: Iterable[Sequence[Any]], num_bins: int = 15
    ) -> BinStatistics:
        """Returns the statistics of the rows that the query `sql.bin_sums` gives.

        Rows of the same bin, such as those of several partitions, add up.

        Args:
            rows: the bin, and its sums of weights, confidences, hits and squared
                errors, as a database's cursor fetches them.
            num_bins: the number of bins of the query.

        Raises:
            ValueError: for rows without a bin: their samples have a confidence or a hit
                that is missing or not in [0, 1], or a weight that is missing or
                negative; and for a bin beyond the last.
        """
        num_bins = whole_number("num_bins", num_bins)
        sums = np.zeros((num_bins, 4))
        for row in rows:
            bin_, *columns = row
            if bin_ is None or bin_ != bin_:
                raise ValueError(
                    "a confidence or hit is missing or not in [0, 1], or a weight is "
                    "missing or negative: look at the rows of the bin NULL. Received: "
                    f"{tuple(row)}"
                )
            if len(columns) != 4 or not 0 <= bin_ < num_bins:
                raise ValueError(
                    "a row must hold a bin below num_bins, and four sums. Received: "
                    f"{tuple(row)}, num_bins={num_bins}"
                )
            sums[int(bin_)] += [float(x) for x in columns]
        return cls(*sums.T)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BinStatistics:
        """Returns the statistics that `to_dict` gave."""
        return cls(**values)

    def to_dict(self) -> dict[str, list[float] | None]:
        """Returns plain lists, for JSON and other processes, with all digits."""
        return {
            f.name: None if (v := getattr(self, f.name)) is None else v.tolist()
            for f in fields(self)
        }

    def __add__(self, other: BinStatistics) -> BinStatistics:
        if not isinstance(other, BinStatistics):
            return NotImplemented
        if not np.array_equal(other.edges, self.edges):
            raise ValueError(
                "Statistics add up over the same bins only. Received: "
                f"{self.num_bins} and {other.num_bins} bins, edges {self.edges} and "
                f"{other.edges}"
            )
        sums: list[Any] = [
            None if a is None or b is None else a + b
            for a, b in zip(self.sums, other.sums, strict=True)
        ]
        return BinStatistics(*sums, edges=self.edges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BinStatistics) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"BinStatistics(num_bins={self.num_bins}, total={self.total:g}, "
            f"ece={self.ece():.4f}, gap={self.gap():+.4f})"
        )

    def __str__(self) -> str:
        return text_table(*self._cells())

    def _repr_html_(self) -> str:
        return html_table(*self._cells())

    @property
    def sums(self) -> BinSums:
        """The four sums by name, as the formulas of `ops` take them."""
        return BinSums(self.weight, self.confidence, self.hits, self.squared_error)

    @property
    def num_bins(self) -> int:
        """The number of bins, M."""
        return len(self.weight)

    @property
    def total(self) -> float:
        """The weight of all samples, N."""
        return float(self.weight.sum())

    @property
    def mean_confidence(self) -> np.ndarray:
        """The mean confidence of each bin, 0 if the bin is empty."""
        return np.asarray(divide_no_nan(self.confidence, self.weight))

    @property
    def accuracy(self) -> np.ndarray:
        """The fraction of hits of each bin, 0 if the bin is empty."""
        return np.asarray(divide_no_nan(self.hits, self.weight))

    def equal_mass(self, num_bins: int) -> BinStatistics:
        """Returns the statistics of bins of equal weight, cut out of these bins.

        A whole number of samples is cut as by `numpy.array_split`. A bin that is cut
        is divided in proportion.

        Args:
            num_bins: the number of bins to cut.
        """
        num_bins = whole_number("num_bins", num_bins)
        sums = equal_mass_sums(self.sums, num_bins)
        ranks = np.append(0.0, np.cumsum(self.weight))
        edges = np.interp(equal_mass_cuts(self.weight, num_bins), ranks, self.edges)
        return BinStatistics(*sums, edges=edges)

    def ece(self, norm: Norm = "l1") -> float:
        """Returns the error of norm `"l1"`, `"l2"`, `"l2_debiased"` or `"max"`."""
        return float(
            calibration.calibration_error(self.sums, one_of("norm", norm, Norm))
        )

    def debiased_ece(self) -> float:
        """Returns the l2 error without the part that sampling noise adds.

        Formula, 0 where the sum is negative; bins of weight <= 1 are left out:

        ```
        sqrt(sum_m n_m / N ((c_m - a_m)^2 - a_m (1 - a_m) / (n_m - 1)))
        ```

        Reference: Kumar, Liang, Ma, "Verified Uncertainty Calibration", NeurIPS
        2019, section 5.
        """
        return float(calibration.debiased_error(self.sums))

    def gap(self) -> float:
        """Returns mean confidence minus accuracy, in [-1, 1]."""
        return float(calibration.calibration_gap(self.sums))

    def overconfidence(self) -> float:
        """Returns the part of the l1 error where confidence exceeds accuracy."""
        return float(calibration.overconfidence(self.sums))

    def underconfidence(self) -> float:
        """Returns the part of the l1 error where accuracy exceeds confidence."""
        return float(calibration.underconfidence(self.sums))

    def brier_score(self) -> float:
        """Returns the mean of (confidence - hit)^2.

        Raises:
            ValueError: if `squared_error` is unknown.
        """
        if self.squared_error is None:
            raise ValueError(
                "The Brier score needs `squared_error`, the sum of (confidence - "
                "hit)^2 of each bin. Received: None"
            )
        return float(calibration.weighted_mean(self.sums, self.squared_error))

    def brier_decomposition(self) -> dict[str, float]:
        """Returns the parts of the Brier score of (confidence, hit).

        Formula, with the fraction a of hits among all samples:

        ```
        brier_score = reliability - resolution + uncertainty + within_bin
        reliability = sum_m n_m / N (c_m - a_m)^2
        resolution  = sum_m n_m / N (a_m - a)^2
        uncertainty = a (1 - a)
        within_bin  = sum_m n_m / N (Var_m(c) - 2 Cov_m(c, hit))
        ```

        The uncertainty reads a fractional hit as a rate of hits 0 and 1, and within_bin
        contains the difference.

        References: Murphy, "A New Vector Partition of the Probability Score",
        Journal of Applied Meteorology 12 (1973); Stephenson, Coelho, Jolliffe, "Two
        Extra Components in the Brier Score Decomposition", Weather and Forecasting
        23 (2008).
        """
        score = self.brier_score()
        parts = calibration.brier_parts(self.sums, score)
        return {k: float(v) for k, v in parts.items()} | {"brier_score": score}

    def risk_coverage(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the risk-coverage curve, one point for each bin that holds samples.

        The risk is the error rate of the most confident samples, and the coverage is
        their fraction of all samples. Fine bins give a fine curve:
        `evaluate(...).fine_statistics`.

        Returns:
            Coverages in rising order, and the risk at each.
        """
        weight, errors = self.weight[::-1], (self.weight - self.hits)[::-1]
        used = weight > 0
        taken, wrong = np.cumsum(weight)[used], np.cumsum(errors)[used]
        return taken / self.total, wrong / taken

    def coverage_at_risk(self, risk: float) -> float:
        """Returns the largest fraction of samples whose error rate is at most `risk`.

        The samples are the most confident ones. A bin may be cut, as if its errors were
        spread evenly. The fraction is 0 if even the most confident samples have more
        errors.

        Args:
            risk: the error rate that is allowed, in [0, 1].
        """
        risk = in_range("risk", risk, 0.0, 1.0)
        weight, errors = self.weight[::-1], (self.weight - self.hits)[::-1]
        n, e = np.cumsum(weight) - weight, np.cumsum(errors) - errors
        # In a bin of error rate r, (e + t r) / (n + t) = risk.
        rate = divide_no_nan(errors, weight)
        t = divide_no_nan(risk * n - e, rate - risk)
        whole = e + errors <= risk * (n + weight)
        part = (e <= risk * n) & (rate > risk)
        most = np.where(whole, n + weight, np.where(part, n + t, 0.0))
        return float(ratio(most.max(), self.total))

    def credible_intervals(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Returns the lower and the upper ends of intervals of the bins' accuracies.

        They are equal-tailed, from the posterior Beta(hits + 1/2, misses + 1/2) of
        Jeffreys' prior, which also has good frequentist coverage (Brown, Cai,
        DasGupta, "Interval Estimation for a Binomial Proportion", Statistical Science
        2001).

        Args:
            level: probability of the interval, in (0, 1).
        """
        return intervals.credible_intervals(self.sums, level)

    def ece_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Returns a confidence interval of the l1 error, without a bootstrap.

        The interval covers the error over these bins that infinitely many samples
        would give, with a probability of at least about `level`. It is too wide where
        samples are few, and its lower end is conservative for a badly calibrated
        model. `metrics/intervals.py` has the derivation.

        Args:
            level: confidence level, in (0, 1).
        """
        return intervals.error_interval(self.sums, level)

    def table(self, level: float = 0.95) -> list[dict[str, float]]:
        """Returns the reliability table, one row for each bin that holds samples.

        Args:
            level: probability of the interval of the accuracy.

        Returns:
            Rows of `lower`, `upper` (edges), `weight`, `confidence`, `accuracy`,
            `gap`, `accuracy_low` and `accuracy_high`.
        """
        low, high = self.credible_intervals(level)
        columns = {
            "lower": self.edges[:-1],
            "upper": self.edges[1:],
            "weight": self.weight,
            "confidence": self.mean_confidence,
            "accuracy": self.accuracy,
            "gap": self.mean_confidence - self.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
        }
        return [
            {name: float(column[i]) for name, column in columns.items()}
            for i in np.flatnonzero(self.weight)
        ]

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Returns the header and the rows of the table as text."""
        header = ["bin", "weight", "confidence", "accuracy", "gap", "95% of accuracy"]
        row = (
            "{lower:.3f}-{upper:.3f} {weight:g} {confidence:.4f} {accuracy:.4f} "
            "{gap:+.4f} {accuracy_low:.3f}-{accuracy_high:.3f}"
        )
        return header, [row.format(**cells).split() for cells in self.table()]
