"""The figures of a model on held-out data."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib import metrics
from keras_calib.callbacks.logit_gradient import gradient_bound, logit_gradient
from keras_calib.types import Tensor


def held_out_figures(
    model: keras.Model,
    loss: Any,
    reading: dict[str, Any],
    data: Iterable[tuple[Tensor, ...]],
) -> tuple[dict[str, Any], metrics.BinStatistics]:
    """Returns the figures by name, and the bins they were read from.

    The gradient is that of the first batch. If no sample counts, the bins are empty,
    and their figures are left out.
    """
    error = metrics.ExpectedCalibrationError(**reading)
    likelihood = metrics.NegativeLogLikelihood(**reading)
    both = metrics.CalibrationMetrics([error, likelihood])
    figures: dict[str, Any] = {}
    for x, y, *weight in data:
        y_pred = model(x, training=False)
        if not figures:
            axis, from_logits = reading["axis"], reading["from_logits"]
            gradient = logit_gradient(loss, y, y_pred, from_logits, axis)
            figures["gradient"] = float(np.abs(gradient).max())
            figures["gradient_bound"] = gradient_bound(loss, y_pred.shape[axis])
        both.update_state(y, y_pred, *weight)
    bins = error.statistics()
    if bins.total:
        nll = float(ops.convert_to_numpy(likelihood.result()))
        figures |= {
            "negative_log_likelihood": nll,
            "ece": bins.ece(),
            "gap": bins.gap(),
            "accuracy": float(bins.hits.sum() / bins.total),
        }
    return figures, bins
