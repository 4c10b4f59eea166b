"""Predictions that are TFP distributions, read without importing TFP."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_calib.evaluation.pooling import pooled
from keras_calib.ops.arrays import as_numbers

_CLASSES = {"Categorical", "OneHotCategorical"}


def is_distribution(x: Any) -> bool:
    """Says whether an object is a distribution of TFP, on any of its substrates."""
    modules = (cls.__module__ for cls in type(x).__mro__)
    known = any(name.startswith("tensorflow_probability.") for name in modules)
    return known and hasattr(x, "batch_shape")


def parameters(distribution: Any, multilabel: bool) -> tuple[np.ndarray, bool]:
    """Returns the predictions of a distribution, and whether they are logits.

    They are the parameters that it was made with. A mixture is pooled. Several
    Bernoulli distributions per sample are binary problems, not classes.

    Args:
        distribution: the distribution.
        multilabel: whether those are independent labels of the sample.

    Raises:
        ValueError: for a distribution other than a `Categorical`, `OneHotCategorical`
            or `Bernoulli`, or a `MixtureSameFamily` of those.
    """
    scores, from_logits, one = _scores(distribution)
    if one and not multilabel and scores.ndim > 1 and scores.shape[-1] > 1:
        scores = scores[..., None]
    return scores, from_logits


def _scores(distribution: Any) -> tuple[np.ndarray, bool, bool]:
    """Returns parameters, whether they are logits, and whether they are of label 1."""
    kinds = {cls.__name__ for cls in type(distribution).__mro__}
    if kinds & _CLASSES or "Bernoulli" in kinds:
        from_logits = distribution.logits is not None
        scores = distribution.logits if from_logits else distribution.probs
        return as_numbers("y_pred", scores), from_logits, not kinds & _CLASSES
    if "MixtureSameFamily" in kinds:
        scores, from_logits, one = _scores(distribution.components_distribution)
        weight = as_numbers(
            "y_pred", distribution.mixture_distribution.probs_parameter()
        )
        count = scores.ndim if one else scores.ndim - 1
        weight = np.broadcast_to(weight, scores.shape[:count])
        scores, weight = np.moveaxis(scores, count - 1, 1), np.moveaxis(weight, -1, 1)
        mean = pooled(scores, weight, from_logits=from_logits, one=one)
        return mean, from_logits, one
    raise ValueError(
        "A distribution must be a Categorical, a OneHotCategorical, a Bernoulli, or a "
        f"MixtureSameFamily of those. Received: {distribution!r}"
    )
