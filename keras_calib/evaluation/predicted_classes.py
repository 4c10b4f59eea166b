"""The parts of the Brier score, from sums over the classes that are predicted."""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_calib.metrics.brier import BrierDecomposition, group_sums
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.types import Tensor


class PredictedClasses(BrierDecomposition):
    """Keeps sums only of predicted classes, because those of all take K^2 numbers.

    Its state has no fixed shape, so a compiled step cannot hold it.
    """

    def __init__(self, *, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self._rows: dict[int, np.ndarray] = {}

    def accumulate(self, batch: ClassBatch) -> None:
        """Adds weights, probabilities, labels and their squares."""
        predicted, p, y = (
            np.asarray(ops.convert_to_numpy(x))
            for x in (batch.predicted, batch.probabilities, batch.targets)
        )
        occurs = np.zeros(batch.num_classes, bool)
        occurs[predicted] = True
        index = (np.cumsum(occurs) - 1)[predicted]
        sums = group_sums(batch.sample_weight, p, y, index, occurs.sum())
        rows = ops.convert_to_numpy(sums)
        for k, row in zip(np.flatnonzero(occurs).tolist(), rows, strict=True):
            self._rows[k] = self._rows.get(k, 0.0) + row
        self._add_squares(batch)

    def _sums(self) -> tuple[Tensor, Tensor]:
        return np.stack(list(self._rows.values())), self._squares.numpy()
