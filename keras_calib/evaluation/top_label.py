"""The top label of numpy arrays, computed with numpy alone."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from keras_calib.ops.class_batch import ClassBatch


class TopLabelBatch(ClassBatch):
    """A batch of numpy arrays whose top label costs little more than an argmax.

    Its scores keep their dtype, and no probability but the largest is computed.
    """

    @cached_property
    def _top(self) -> tuple[np.ndarray, np.ndarray]:
        index = self._rows.argmax(-1)
        return np.take_along_axis(self._rows, index[:, None], -1)[:, 0], index

    @cached_property
    def confidence(self) -> np.ndarray:
        """The largest probability, of shape (N,), in float64."""
        top = self._top[0].astype("float64")
        if not self.from_logits:
            return top
        shifted = np.subtract(self._rows, top[:, None], dtype="float64")
        return np.asarray(1.0 / np.exp(shifted, out=shifted).sum(-1))

    @cached_property
    def hit(self) -> np.ndarray:
        """Whether the predicted class is the label, or its target, of shape (N,)."""
        index = self._top[1]
        if not self.soft:
            return np.asarray(index == self.labels)
        return np.take_along_axis(self.labels, index[:, None], -1)[:, 0]
