"""The loss at the best temperature, of numpy arrays, computed with numpy alone."""

from __future__ import annotations

import numpy as np

from keras_calib.metrics.refinement import INVERSE_T, RefinementLoss
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import in_numpy

# This many numbers, 512 KB in float64, stay in a processor's cache.
_BLOCK = 2**16


class RefinementOfArrays(RefinementLoss):
    """Reads arrays in blocks, and needs two exponentials for all 33 temperatures."""

    def __init__(self, *, dtype: str) -> None:
        super().__init__(name="refinement_loss", dtype=dtype)

    def sums(self, batch: ClassBatch) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weight, the loss at T = infinity, and the curve, as sums."""
        scores, labels = in_numpy(batch.scores), np.asarray(batch.labels)
        weight, rows = batch.sample_weight, max(1, _BLOCK // batch.num_classes)
        if weight is not None:
            weight = in_numpy(weight)
            counts = weight != 0
            scores, labels, weight = scores[counts], labels[counts], weight[counts]
        uniform, curve = np.zeros(2), np.zeros((len(INVERSE_T), 2))
        with np.errstate(all="ignore"):  # impossible values give NaN
            for start in range(0, len(scores), rows):
                block = slice(start, start + rows)
                z, of_label = _shifted(scores[block], labels[block], batch.from_logits)
                w = np.ones(z.shape[1]) if weight is None else weight[block]
                uniform += w.sum(), w @ np.log((z > -np.inf).sum(0))
                # The logit of a masked class is -inf, and 0 * -inf is NaN.
                _add_curve(np.maximum(z, -1e30, out=z), of_label, w, curve)
        return uniform, curve


def _shifted(
    scores: np.ndarray, labels: np.ndarray, from_logits: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns z - max z of shape (K, N), which is fast to sum, and the labels' z."""
    z = scores.T.copy()
    if not from_logits:
        np.log(np.maximum(z, np.finfo(z.dtype).tiny, out=z), out=z)
    z -= z.max(0)
    if labels.ndim == 1:
        places = labels.clip(0, len(z) - 1)
        of_label = np.take_along_axis(z, places[None], 0)[0]
    else:
        of_label = np.where(labels.T > 0, labels.T * z, 0.0).sum(0)
    return z, of_label


def _add_curve(
    z: np.ndarray, of_label: np.ndarray, weight: np.ndarray, curve: np.ndarray
) -> None:
    """Adds the losses and their slopes in log(1/T), as `RefinementLoss` does.

    Squaring an exponential doubles its relative error: after 16 squarings it is 2^16
    roundings of float64, 7e-12.
    """
    label = weight @ of_label
    for first in (0, 1):
        e = np.exp(INVERSE_T[first] * z)
        for place in range(first, len(INVERSE_T), 2):
            if place > first:
                e *= e
            total, inverse = e.sum(0), INVERSE_T[place]
            mean = np.einsum("kn,kn->n", e, z) / total
            curve[place] += weight @ np.log(total), inverse * (weight @ mean)
            curve[place] -= inverse * label
