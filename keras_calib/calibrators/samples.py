"""The samples that a calibrator is fitted to."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np

from keras_calib.calibrators.reading import flat
from keras_calib.ops.arrays import require_weights
from keras_calib.ops.validation import require_classes
from keras_calib.types import Array, Tensor

T = TypeVar("T")

# The size of a block: the cache of a core holds a few arrays of this size.
_BLOCK = 2**16


@dataclass(frozen=True)
class Samples:
    """N samples of K >= 2 classes, as numpy arrays.

    Args:
        logits: float32 or float64 logits of shape (N, K).
        labels: int64 labels of shape (N,), or float64 targets of shape (N, K).
        weight: float64 weights of shape (N,), divided by their sum.
        total: their sum. A weight of 3 stands for three samples.
    """

    logits: Array
    labels: Array
    weight: Array
    total: float

    @classmethod
    def read(
        cls,
        logits: Tensor,
        labels: Tensor,
        sample_weight: Tensor = None,
        ignore_class: int | None = None,
    ) -> Self:
        """Flattens arrays of any leading shape.

        Args:
            logits: shape `(..., K)`; float32 and float64 are kept as they are.
            labels: integers of shape `(...)` or `(..., 1)`, or one-hot or soft
                targets of shape `(..., K)`.
            sample_weight: weights of shape `(...)` or of its leading axes.
            ignore_class: integer label whose samples are left out.

        Returns:
            The samples of positive weight.

        Raises:
            ValueError: for shapes that do not fit, labels that are not classes, weights
                that are not numbers of at least 0, and fewer than two samples or
                classes in the labels.
        """
        logits, labels, weight = flat(logits, labels, [sample_weight], ignore_class)
        require_weights(weight)
        counts = weight > 0
        if not counts.all():
            logits, labels, weight = logits[counts], labels[counts], weight[counts]
        if len(weight) < 2:
            raise ValueError(
                "A calibrator needs at least 2 samples of positive weight. "
                f"Received: {len(weight)}"
            )
        soft = labels.ndim == 2
        if not soft:
            require_classes(labels, logits.shape[-1], ignore_class)
        named = np.flatnonzero(labels.any(0)) if soft else labels
        if named.min() == named.max():
            raise ValueError(
                "`labels` must contain at least two classes: with one class every "
                "prediction is right, and no confidence is too high. Received: class "
                f"{int(named[0])} only"
            )
        labels = labels.astype("float64" if soft else "int64")
        return cls(logits, labels, weight / weight.sum(), weight.sum())

    @property
    def soft(self) -> bool:
        """Whether the labels are targets of shape (N, K)."""
        return self.labels.ndim == 2

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return int(self.logits.shape[1])

    @property
    def targets(self) -> Array:
        """One-hot or soft labels of shape (N, K)."""
        if self.soft:
            return self.labels
        one_hot: Array = np.zeros(self.logits.shape)
        one_hot[np.arange(len(self)), self.labels] = 1.0
        return one_hot

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, rows: Any) -> Self:
        weight = self.weight[rows]
        share = weight.sum()
        return type(self)(
            self.logits[rows], self.labels[rows], weight / share, share * self.total
        )

    def map(self, function: Callable[[slice], T]) -> list[T]:
        """Calls a function on blocks of rows that fit a cache, on all cores."""
        step = max(1, _BLOCK // self.num_classes)
        blocks = [slice(i, i + step) for i in range(0, len(self), step)]
        if len(blocks) == 1:
            return [function(blocks[0])]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(function, blocks))

    def expected(self, x: Array, rows: slice) -> Array:
        """Returns sum_k t_k x_k of values x of the rows, for labels t."""
        if self.soft:
            mean: Array = np.einsum("nk,nk->n", self.labels[rows], x)
        else:
            mean = x[np.arange(len(x)), self.labels[rows]].astype("float64")
        return mean
