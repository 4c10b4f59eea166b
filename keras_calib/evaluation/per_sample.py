"""The values of the samples whose means are figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_calib.arguments import boolean
from keras_calib.evaluation.batches import Batch, in_chunks, shown
from keras_calib.evaluation.multilabel import sums_of
from keras_calib.evaluation.settings import Settings
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import in_float64, in_numpy

__all__ = ["per_sample"]


@in_float64
def per_sample(
    y_true: Any,
    y_pred: Any,
    *,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = None,
    axis: int = -1,
    multilabel: bool = False,
    verbose: bool | None = None,
    validate: bool = True,
) -> dict[str, np.ndarray]:
    """Returns what each sample contributes to the figures of `evaluate`.

    The (weighted) mean of the values under a name is the figure of that name. Use them
    to find the worst samples, or for a test or a bootstrap of your own.

    Args:
        y_true: labels, as `evaluate` takes them.
        y_pred: predictions.
        from_logits: whether `y_pred` are logits.
        sample_weight: weights; samples of weight 0 have no value.
        ignore_class: integer label whose samples have no value.
        axis: the axis of the classes, not the first.
        multilabel: whether `y_pred` are of independent labels, each of which has its
            own values.
        verbose: whether to show a progress bar; by default for more than one chunk.
        validate: whether to check the values of labels, predictions and weights.

    Returns:
        Arrays in the shape of the samples by name: `predicted`, the class (-1 without
        a value), and in float64 (NaN without a value) `confidence`, `accuracy`,
        `calibration_gap`, `negative_log_likelihood`, `brier_score` and
        `predictive_entropy`.

    Raises:
        ValueError: for what `evaluate` refuses.

    Example:

    >>> import keras_calib
    >>> found = keras_calib.evaluation.per_sample([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> found["brier_score"].round(6)
    array([0.08, 0.98])
    >>> found["predicted"]
    array([0, 0])
    """
    settings = Settings(ignore_class, axis, validate=validate, multilabel=multilabel)
    whole = Batch.of(
        y_true,
        y_pred,
        sample_weight,
        from_logits=boolean("from_logits", from_logits),
        multilabel=multilabel,
    )
    sums = sums_of(settings)
    found: dict[str, list[np.ndarray]] = {}
    for chunk in shown(in_chunks([whole]), len(whole), verbose):
        settings.check(chunk)
        batch = sums.read(chunk)
        values = {
            "predicted": in_numpy(batch.predicted).astype(int),
            "confidence": in_numpy(batch.confidence),
            **values_of(batch),
            "predictive_entropy": in_numpy(batch.entropy),
        }
        weight = batch.sample_weight
        for name, x in values.items():
            if weight is not None:
                x = np.where(in_numpy(weight) > 0, x, -1 if x.dtype == int else np.nan)
            found.setdefault(name, []).append(x)
    shape = list(whole.y_pred.shape)
    if not multilabel and len(shape) > 1:
        del shape[axis]
    return {name: np.concatenate(x).reshape(shape) for name, x in found.items()}


def values_of(batch: ClassBatch) -> dict[str, np.ndarray]:
    """Returns the values of the samples of a batch, by the names of their means."""
    confidence, hit = in_numpy(batch.confidence), in_numpy(batch.hit)
    return {
        "accuracy": hit,
        "calibration_gap": confidence - hit,
        "negative_log_likelihood": in_numpy(batch.cross_entropy),
        "brier_score": in_numpy(batch.squared_error),
    }
