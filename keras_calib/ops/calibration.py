"""Sums over bins, and the figures of calibration computed from them.

Each formula serves tensors in a compiled step, and numpy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from keras import ops

from keras_calib.ops.floats import at_least, divide_no_nan, namespace
from keras_calib.types import Tensor

Norm: TypeAlias = Literal["l1", "l2", "l2_debiased", "max"]
Binning: TypeAlias = Literal["equal_width", "equal_mass"]


class BinSums(NamedTuple):
    """Sums over bins, which lie along the last axis.

    Attributes:
        weight: sum of the sample weights.
        confidence: weighted sum of the confidences.
        hits: weighted sum of the hits.
        squared_error: weighted sum of (confidence - hit)^2; `None` if unknown.
    """

    weight: Tensor
    confidence: Tensor
    hits: Tensor
    squared_error: Tensor | None = None

    @classmethod
    def unstack(cls, columns: Tensor) -> BinSums:
        """Names the columns of a tensor of shape (..., M, 3) or (..., M, 4)."""
        return cls(*ops.unstack(columns, columns.shape[-1], axis=-1))

    def stack(self) -> Tensor:
        """Returns the sums that are known as columns, which `unstack` separates."""
        return ops.stack([x for x in self if x is not None], axis=-1)

    def map(self, function: Callable[[Tensor], Tensor]) -> BinSums:
        """Applies a function to the sums that are known."""
        return BinSums(*(None if x is None else function(x) for x in self))


def ratio(x: Tensor, y: Tensor) -> Tensor:
    """Returns x / y, NaN where both are 0: the mean of nothing."""
    with np.errstate(invalid="ignore"):
        return x / y


def unless_empty(figure: Tensor, weight: Tensor) -> Tensor:
    """Returns a figure, NaN where the sum of the weights along the last axis is 0."""
    xp = namespace(weight)
    return xp.where(xp.sum(weight, axis=-1) == 0.0, float("nan"), figure)


def largest(x: Tensor) -> Tensor:
    """Returns the maximum along the last axis, NaN where an x >= 0 is NaN."""
    xp = namespace(x)
    total = xp.sum(x, axis=-1)
    # Whether a maximum ignores NaN depends on the backend.
    return xp.where(total == total, xp.max(x, axis=-1), total)


def weighted_mean(sums: BinSums, totals: Tensor) -> Tensor:
    """Computes sum_m totals_m / sum_m n_m over the last axis; NaN if all n_m are 0."""
    xp = namespace(sums.weight)
    return ratio(xp.sum(totals, axis=-1), xp.sum(sums.weight, axis=-1))


def calibration_error(sums: BinSums, norm: Norm = "l1") -> Tensor:
    """Computes the calibration error over bins of mean confidence c and accuracy a.

    ```
    l1:  sum_m n_m / N |c_m - a_m|
    l2:  sqrt(sum_m n_m / N (c_m - a_m)^2)
    max: max_m |c_m - a_m|
    ```

    `"l2_debiased"` is `debiased_error`. Empty bins are ignored. If all are empty, it is
    NaN.
    """
    if norm == "l2_debiased":
        return debiased_error(sums)
    xp = namespace(sums.weight)
    gap = xp.abs(sums.confidence - sums.hits)
    if norm == "l1":
        return weighted_mean(sums, gap)
    mean_gap = divide_no_nan(gap, sums.weight)
    if norm == "l2":
        return xp.sqrt(weighted_mean(sums, gap * mean_gap))
    return unless_empty(largest(mean_gap), sums.weight)


def debiased_error(sums: BinSums) -> Tensor:
    """Computes the l2 error without the part that sampling noise adds.

    ```
    sqrt(sum_m n_m / N ((c_m - a_m)^2 - a_m (1 - a_m) / (n_m - 1)))
    ```

    Bins of weight <= 1 are left out. Where the sum is negative, the error is 0.
    """
    xp, n = namespace(sums.weight), sums.weight
    c, a = divide_no_nan(sums.confidence, n), divide_no_nan(sums.hits, n)
    noise = divide_no_nan(a * (1.0 - a), n - 1.0)
    squares = xp.where((n > 1.0) | (c != c), (c - a) ** 2 - noise, 0.0)
    return xp.sqrt(at_least(weighted_mean(sums, n * squares), 0.0))


def calibration_gap(sums: BinSums) -> Tensor:
    """Computes mean confidence minus accuracy, in [-1, 1]."""
    return weighted_mean(sums, sums.confidence - sums.hits)


def overconfidence(sums: BinSums) -> Tensor:
    """Computes the part of the l1 error where confidence exceeds accuracy."""
    return weighted_mean(sums, at_least(sums.confidence - sums.hits, 0.0))


def underconfidence(sums: BinSums) -> Tensor:
    """Computes the part of the l1 error where accuracy exceeds confidence."""
    return weighted_mean(sums, at_least(sums.hits - sums.confidence, 0.0))


def brier_parts(
    sums: BinSums, brier_score: Tensor, label_square: Tensor | None = None
) -> dict[str, Any]:
    """Splits a Brier score into its parts.

    With the mean probability c_m and the mean label y_m of bin m, and the mean label y
    of all samples:

    ```
    brier_score = reliability - resolution + uncertainty + within_bin
    reliability = sum_m n_m / N ||c_m - y_m||^2
    resolution  = sum_m n_m / N ||y_m - y||^2
    uncertainty = mean ||label||^2 - ||y||^2
    ```

    Args:
        sums: confidences and hits of shape (..., M), whose leading axes are
            classes; weights of shape (M,).
        brier_score: the mean of ||probability - label||^2.
        label_square: the mean of ||label||^2; by default that of labels 0 and 1.
    """
    xp, n = namespace(sums.weight), sums.weight
    c, y = divide_no_nan(sums.confidence, n), divide_no_nan(sums.hits, n)
    base = weighted_mean(sums, sums.hits)
    if label_square is None:
        label_square = xp.sum(base)

    def mean_square(x: Tensor) -> Tensor:
        return xp.sum(weighted_mean(sums, n * x**2))

    parts = {
        "reliability": mean_square(c - y),
        "resolution": mean_square(y - base[..., None]),
        "uncertainty": label_square - xp.sum(base**2),
    }
    rest = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
    parts["within_bin"] = brier_score - rest
    # A prediction that is NaN belongs to no bin.
    known = brier_score == brier_score
    return {name: xp.where(known, part, brier_score) for name, part in parts.items()}
