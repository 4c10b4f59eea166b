"""The sums over bins, and the figures of calibration that are read off them.

Each formula serves tensors in a compiled step, and numpy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeAlias

from keras import ops

from keras_calib.ops.floats import divide_no_nan, namespace
from keras_calib.types import Tensor

Norm: TypeAlias = Literal["l1", "l2", "max"]


class Sums(Protocol):
    """Anything that holds sums over bins: `BinSums`, or `BinStatistics`."""

    @property
    def weight(self) -> Tensor: ...

    @property
    def confidence(self) -> Tensor: ...

    @property
    def hits(self) -> Tensor: ...


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
        """Names the columns of a tensor of shape (..., M, 4)."""
        return cls(*ops.unstack(columns, 4, axis=-1))

    def map(self, function: Callable[[Tensor], Tensor]) -> BinSums:
        """Applies a function to the sums that are known."""
        return BinSums(*(None if x is None else function(x) for x in self))


def calibration_error(sums: Sums, norm: Norm = "l1") -> Tensor:
    """Computes the calibration error over bins of mean confidence c and accuracy a.

    ```
    l1:  sum_m n_m / N |c_m - a_m|
    l2:  sqrt(sum_m n_m / N (c_m - a_m)^2)
    max: max_m |c_m - a_m|
    ```

    Empty bins count for nothing.
    """
    xp = namespace(sums.weight)
    gap = xp.abs(sums.confidence - sums.hits)
    if norm == "max":
        return xp.max(divide_no_nan(gap, sums.weight), axis=-1)
    if norm == "l1":
        return divide_no_nan(xp.sum(gap, axis=-1), xp.sum(sums.weight, axis=-1))
    squares = xp.sum(gap * divide_no_nan(gap, sums.weight), axis=-1)
    return xp.sqrt(divide_no_nan(squares, xp.sum(sums.weight, axis=-1)))


def calibration_gap(sums: Sums) -> Tensor:
    """Computes mean confidence minus accuracy, in [-1, 1]."""
    xp = namespace(sums.weight)
    gap = xp.sum(sums.confidence - sums.hits, axis=-1)
    return divide_no_nan(gap, xp.sum(sums.weight, axis=-1))
