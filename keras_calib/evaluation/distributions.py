"""Predictions that are distributions of TFP, which is not imported."""

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


def parameters(distribution: Any) -> tuple[np.ndarray, bool]:
    """Returns the predictions of a distribution, and whether they are logits.

    They are the parameters that it was made with. A mixture is pooled.

    Raises:
        ValueError: for another distribution than a `Categorical`, `OneHotCategorical`
            or `Bernoulli`, or a `MixtureSameFamily` of those.
    """
    kinds = {cls.__name__ for cls in type(distribution).__mro__}
    if kinds & _CLASSES or "Bernoulli" in kinds:
        from_logits = distribution.logits is not None
        scores = distribution.logits if from_logits else distribution.probs
        return as_numbers("y_pred", scores), from_logits
    if "MixtureSameFamily" in kinds:
        components = distribution.components_distribution
        scores, from_logits = parameters(components)
        one = not {cls.__name__ for cls in type(components).__mro__} & _CLASSES
        weight = as_numbers(
            "y_pred", distribution.mixture_distribution.probs_parameter()
        )
        count = scores.ndim if one else scores.ndim - 1
        weight = np.broadcast_to(weight, scores.shape[:count])
        scores, weight = np.moveaxis(scores, count - 1, 1), np.moveaxis(weight, -1, 1)
        return pooled(scores, weight, from_logits=from_logits, one=one), from_logits
    raise ValueError(
        "A distribution must be a Categorical, a OneHotCategorical, a Bernoulli, or a "
        f"MixtureSameFamily of those. Received: {distribution!r}"
    )
