"""The prediction of a mixture, from those of its members."""

from __future__ import annotations

import numpy as np

from keras_calib.activations import log_softmax


def pooled(
    scores: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    from_logits: bool,
    one: bool,
    axis: int = -1,
) -> np.ndarray:
    """Returns the mean prediction of members, in float64.

    For logits it is computed from log-probabilities, so that it is exact however
    improbable a class is.

    Args:
        scores: logits or probabilities of shape `(N, M, ...)`.
        weight: weights of the members, of the leading axes of `scores`; by default all
            are equal.
        from_logits: whether `scores` are logits, as the result then is.
        one: whether they are of label 1 of a binary problem.
        axis: the axis of the classes in the predictions of a member.
    """
    scores = scores.astype("float64")
    if weight is None:
        weight = np.full(scores.shape[:2], 1 / scores.shape[1])
    weight = weight.reshape(*weight.shape, *(1,) * (scores.ndim - weight.ndim))
    if not from_logits:
        return np.asarray((weight * scores).sum(1))
    if one:
        both = [-np.logaddexp(0.0, z) for z in (scores, -scores)]
        negative, positive = (_log_mean(x, weight) for x in both)
        return np.asarray(positive - negative)
    return _log_mean(log_softmax(scores, axis + (axis >= 0)), weight)


def _log_mean(log_p: np.ndarray, weight: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.logaddexp.reduce(log_p + np.log(weight), axis=1))
