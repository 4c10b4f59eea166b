"""Per bin the weight, the sum of confidences and the sum of hits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, fields
from statistics import NormalDist
from typing import Any

import numpy as np

from keras_calib.arguments import in_range, one_of
from keras_calib.metrics.half_normal import half_normal_sum_quantile
from keras_calib.ops.bin_statistics import (
    BinSums,
    Norm,
    calibration_error,
    calibration_gap,
)
from keras_calib.ops.binning import equal_width_edges
from keras_calib.ops.floats import divide_no_nan
from keras_calib.ops.ranked import equal_mass_cuts, equal_mass_sums


@dataclass(frozen=True, eq=False)
class BinStatistics:
    """Sums over bins of confidence; what calibration is read off.

    Statistics of separate batches, replicas, hosts or files add up with `+`. Bin i
    is [edges[i], edges[i+1]), the last one is closed. Weights are counts: a weight
    of 3 is three samples.

    Formulas, with weight n_m, confidence c_m and accuracy a_m (both means) of bin
    m, and N the sum of n_m:

    ```
    ece:             l1 sum_m n_m / N |c_m - a_m|, l2 its root mean square, max
    gap:             sum_m n_m / N (c_m - a_m) = overconfidence - underconfidence
    ece l1:                                      overconfidence + underconfidence
    ```

    Args:
        weight: sum of the weights of each bin, of shape (M,).
        confidence: weighted sum of the confidences of each bin.
        hits: weighted sum of the hits (0 or 1, or a share) of each bin.
        squared_error: weighted sum of (confidence - hit)^2 of each bin, which the
            Brier score and the interval of the error read; `None` where unknown.
        edges: the M + 1 edges; by default i/M.

    Raises:
        ValueError: where the shapes differ, and on adding other bins.

    Example:

    >>> from keras_calib.metrics import BinStatistics
    >>> statistics = BinStatistics.from_predictions([0.2, 0.7, 0.8], [0, 0, 1], 2)
    >>> statistics += statistics
    >>> statistics.weight
    array([2., 4.])
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
        shapes = [v.shape for v in self._sums() if v is not None]
        if set(shapes) != {(len(self.edges) - 1,)}:
            raise ValueError(
                "weight, confidence, hits and squared_error must be of one shape "
                f"(num_bins,), and edges of (num_bins + 1,). Received: {shapes} and "
                f"{self.edges.shape}"
            )

    @classmethod
    def from_predictions(
        cls,
        confidence: Any,
        hit: Any,
        num_bins: int = 15,
        sample_weight: Any = None,
    ) -> BinStatistics:
        """Computes the statistics of arrays, in float64.

        Args:
            confidence: confidences in [0, 1], of shape (N,).
            hit: 1 where the prediction was right, else 0, or a share.
            num_bins: the number of equal-width bins.
            sample_weight: one weight a sample.

        Returns:
            The statistics. A confidence is on an edge where it is the float
            nearest to i/M in its own dtype.
        """
        confidence, hit = np.asarray(confidence), np.asarray(hit, "float64")
        weight = np.ones(len(hit)) if sample_weight is None else sample_weight
        if not np.shape(confidence) == hit.shape == np.shape(weight):
            raise ValueError(
                "confidence, hit and sample_weight must be of one shape (N,). "
                f"Received: {confidence.shape}, {hit.shape} and {np.shape(weight)}"
            )
        edges = equal_width_edges(num_bins)
        if confidence.dtype == "float32":
            edges = edges.astype("float32")
        index = np.searchsorted(edges[1:-1], confidence, side="right")
        error = np.square(np.subtract(confidence, hit, dtype="float64"))
        return cls(
            *(
                np.bincount(index, np.multiply(weight, x, dtype="float64"), num_bins)
                for x in (np.ones(len(hit)), confidence, hit, error)
            )
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BinStatistics:
        """Returns the statistics that `to_dict` gave."""
        return cls(**values)

    def to_dict(self) -> dict[str, list[float] | None]:
        """Returns plain lists, for JSON and other processes; no digit is lost."""
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
        pairs = zip(self._sums(), other._sums(), strict=True)
        sums: Iterator[Any] = (
            None if a is None or b is None else a + b for a, b in pairs
        )
        return BinStatistics(*sums, edges=self.edges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BinStatistics) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def _sums(self) -> tuple[np.ndarray | None, ...]:
        return self.weight, self.confidence, self.hits, self.squared_error

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
        """The mean confidence of each bin, 0 where the bin is empty."""
        return divide_no_nan(self.confidence, self.weight)

    @property
    def accuracy(self) -> np.ndarray:
        """The share of hits of each bin, 0 where the bin is empty."""
        return divide_no_nan(self.hits, self.weight)

    def equal_mass(self, num_bins: int) -> BinStatistics:
        """Returns the statistics of bins of equal weight, cut out of these bins.

        A whole number of samples is cut as by `numpy.array_split`. A bin that is cut
        gives its share to both sides.

        Args:
            num_bins: the number of bins to cut.
        """
        sums = equal_mass_sums(BinSums(*self._sums()), num_bins)
        ranks = np.append(0.0, np.cumsum(self.weight))
        edges = np.interp(equal_mass_cuts(self.weight, num_bins), ranks, self.edges)
        return BinStatistics(*sums, edges=edges)

    def ece(self, norm: Norm = "l1") -> float:
        """Returns the calibration error of norm `"l1"`, `"l2"` or `"max"`."""
        one_of("norm", norm, Norm)
        return float(calibration_error(self, norm))

    def debiased_ece(self) -> float:
        """Returns the l2 error without what sampling alone adds to it.

        Formula, 0 where the sum is negative; bins of weight <= 1 are left out:

        ```
        sqrt(sum_m n_m / N ((c_m - a_m)^2 - a_m (1 - a_m) / (n_m - 1)))
        ```

        Reference: Kumar, Liang, Ma, "Verified Uncertainty Calibration", NeurIPS
        2019, section 5.
        """
        a, n = self.accuracy, self.weight
        noise = divide_no_nan(a * (1 - a), n - 1)
        squares = np.where(n > 1, (self.mean_confidence - a) ** 2 - noise, 0.0)
        return float(np.sqrt(max(self._mean(n * squares), 0.0)))

    def gap(self) -> float:
        """Returns mean confidence minus accuracy, in [-1, 1]."""
        return float(calibration_gap(self))

    def overconfidence(self) -> float:
        """Returns the part of the l1 error where confidence exceeds accuracy."""
        return self._mean(np.maximum(self.confidence - self.hits, 0.0))

    def underconfidence(self) -> float:
        """Returns the part of the l1 error where accuracy exceeds confidence."""
        return self._mean(np.maximum(self.hits - self.confidence, 0.0))

    def brier_score(self) -> float:
        """Returns the mean of (confidence - hit)^2.

        Raises:
            ValueError: where `squared_error` is unknown.
        """
        if self.squared_error is None:
            raise ValueError(
                "The Brier score needs `squared_error`, the sum of (confidence - "
                "hit)^2 of each bin. Received: None"
            )
        return self._mean(self.squared_error)

    def brier_decomposition(self) -> dict[str, float]:
        """Returns the parts of the Brier score of (confidence, hit).

        Formula, with a the share of hits of all samples:

        ```
        brier_score = reliability - resolution + uncertainty + within_bin
        reliability = sum_m n_m / N (c_m - a_m)^2
        resolution  = sum_m n_m / N (a_m - a)^2
        uncertainty = a (1 - a)
        within_bin  = sum_m n_m / N (Var_m(c) - 2 Cov_m(c, hit))
        ```

        For hits between 0 and 1 the uncertainty counts them as rates of 0 and 1,
        and within_bin takes up the difference.

        References: Murphy, "A New Vector Partition of the Probability Score",
        Journal of Applied Meteorology 12 (1973); Stephenson, Coelho, Jolliffe, "Two
        Extra Components in the Brier Score Decomposition", Weather and Forecasting
        23 (2008).
        """
        brier, base = self.brier_score(), self._mean(self.hits)
        parts = {
            "reliability": self.ece("l2") ** 2,
            "resolution": self._mean(self.weight * (self.accuracy - base) ** 2),
            "uncertainty": base * (1 - base),
        }
        rest = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
        return {**parts, "within_bin": brier - rest, "brier_score": brier}

    def credible_intervals(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Returns lower and upper ends of where the accuracy of each bin lies.

        Equal-tailed, from the posterior Beta(hits + 1/2, misses + 1/2) of Jeffreys'
        prior, which has good frequentist coverage, too (Brown, Cai, DasGupta,
        "Interval Estimation for a Binomial Proportion", Statistical Science 2001).

        Args:
            level: probability of the interval, in (0, 1).
        """
        from scipy.special import betaincinv  # seldom wanted

        tail, misses = _tail(level), np.maximum(self.weight - self.hits, 0)
        a, b = self.hits + 0.5, misses + 0.5
        return betaincinv(a, b, tail), betaincinv(a, b, 1 - tail)

    def ece_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Returns a confidence interval of the l1 error, without a bootstrap.

        What is covered is the error over these bins that infinitely many samples
        would give. Let D_m = sum(confidence - hit) / N in bin m, with mean mu_m and
        variance s_m^2; the error is |mu| = sum_m |mu_m| and its estimate |D|.

        - |D| >= sum_m sign(mu_m) D_m, a mean of N values whose squares have mean B,
          the Brier score. So |mu| <= |D| + z sqrt((B - |D|^2) / N).
        - |D| - |mu| <= sum_m |D_m - mu_m|, a sum of half-normal variables. So |mu|
          >= |D| - q, q being the quantile of that sum.

        Both hold for all mu as N grows, so that coverage is at least the level; the
        lower end is cautious for a model that is far off. With bins of a few
        samples it is an approximation. Without `squared_error` the samples of a
        bin count as if they had the same confidence.

        Args:
            level: confidence level, in (0, 1).
        """
        if self.total == 0:
            return 0.0, 1.0
        tail, n, error = _tail(level), self.total, self.ece()
        d = (self.confidence - self.hits) / n
        square = self.squared_error
        if square is None:
            c = self.mean_confidence
            square = self.weight * c**2 + (1 - 2 * c) * self.hits
        scale = np.sqrt(np.maximum(square / n - d**2, 0.0) / n)
        spread = np.sqrt(max(square.sum() / n - error**2, 0.0) / n)
        lower = error - half_normal_sum_quantile(scale, 1 - tail)
        upper = error + NormalDist().inv_cdf(1 - tail) * spread
        return float(max(lower, 0.0)), float(min(upper, 1.0))

    def table(self, level: float = 0.95) -> list[dict[str, float]]:
        """Returns the reliability table, a row a bin that holds samples.

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

    def _mean(self, sums: np.ndarray) -> float:
        return float(divide_no_nan(sums.sum(), self.weight.sum()))


def _tail(level: float) -> float:
    return (1 - in_range("level", level, 1e-9, 1 - 1e-9)) / 2
