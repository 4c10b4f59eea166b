"""Per bin the weight, the sum of confidences and the sum of hits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class BinStatistics:
    """Sums over equal-width bins of confidence, [i/M, (i+1)/M), the last closed.

    Statistics of separate batches, replicas or files add up with `+`.

    Attributes:
        weight: sum of weights of each bin, float64 of shape (M,).
        confidence: weighted sum of confidences of each bin.
        hits: weighted sum of hits of each bin.

    Raises:
        ValueError: where the three shapes differ, and on adding other bins.
    """

    weight: np.ndarray
    confidence: np.ndarray
    hits: np.ndarray

    def __post_init__(self) -> None:
        for name in ("weight", "confidence", "hits"):
            value = np.array(getattr(self, name), "float64")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        shapes = {self.weight.shape, self.confidence.shape, self.hits.shape}
        if len(shapes) > 1 or self.weight.ndim != 1:
            raise ValueError(
                "weight, confidence and hits must be of one shape (num_bins,). "
                f"Received: {sorted(shapes)}"
            )

    @property
    def num_bins(self) -> int:
        """The number of bins, M."""
        return len(self.weight)

    @property
    def edges(self) -> np.ndarray:
        """The M + 1 edges of the bins."""
        return np.arange(self.num_bins + 1) / self.num_bins

    def __add__(self, other: BinStatistics) -> BinStatistics:
        if not isinstance(other, BinStatistics):
            return NotImplemented
        if other.num_bins != self.num_bins:
            raise ValueError(
                "Statistics add up over the same bins only. Received: "
                f"{self.num_bins} and {other.num_bins} bins"
            )
        return BinStatistics(
            self.weight + other.weight,
            self.confidence + other.confidence,
            self.hits + other.hits,
        )
