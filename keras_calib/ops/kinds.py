"""Tells logits from probabilities by their values."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from keras_calib.ops.arrays import (
    as_predictions,
    require,
    require_finite,
    require_no_bytes,
    require_samples,
)
from keras_calib.ops.binary_batch import is_one_probability
from keras_calib.ops.looks import ENOUGH, are, is_whole, row_sums, scale_of


def kind_of(y_pred: Any, axis: int = -1) -> Literal["logits", "probabilities"]:
    """Tells logits from probabilities of classes, or of label 1, by their values.

    Probabilities lie in [0, 1], and sum to 1 over classes. Logits have both signs, or
    different sums.

    Args:
        y_pred: predictions of shape `(..., K)`, or `(...)` or `(..., 1)` of label 1.
        axis: the axis of the classes.

    Raises:
        ValueError: if they can be neither, such as percentages, bytes and probabilities
            of several labels, or both, such as positive scores of label 1.
    """
    scores = as_predictions(y_pred)
    require_samples(scores, scores)
    one = is_one_probability(scores, axis)
    if not one:
        scores = np.moveaxis(scores, axis, -1)
    scores = scores.reshape(-1, 1 if one else scores.shape[-1])
    if scores.min() < 0:
        return "logits"
    require_finite("y_pred", scores)
    sums = row_sums(scores)
    if scores.max() <= 1 + 1e-6 if one else are(1, sums):
        return "probabilities"
    require(
        not one or not is_whole(scores),
        "y_pred holds whole numbers: in place of the numbers of classes give logits or "
        "probabilities, and for logits of label 1 say from_logits=True",
        scores,
    )
    either = "y_pred may be logits or percentages; say from_logits=True"
    require(not one, either, scores)
    require_no_bytes(scores)
    same = len(sums) > 1 and 0 < sums.max() * (1 - 1e-3) <= sums.min()
    scaled = same or scale_of(scores) or are(100, sums, 2)
    inside = scores.size >= ENOUGH and scores.max() <= 1 and np.ptp(scores) > 0.5
    require(
        not scaled and not inside,
        "y_pred holds neither probabilities, which sum to 1 over the classes, nor "
        "logits, whose sums differ and which are not all in [0, 1]; divide it by its "
        "sums, or say from_logits=True",
        sums,
        "sums",
    )
    return "logits"
