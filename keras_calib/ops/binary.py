"""The kernel of true-class losses of independent binary labels (sigmoid outputs)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from keras import ops

from keras_calib.ops.floats import at_least, at_most, tiny
from keras_calib.ops.true_class import Backward, ScalarFunction, with_gradient
from keras_calib.types import Tensor

Outcome: TypeAlias = tuple[Tensor, Tensor, Tensor]
Parts: TypeAlias = tuple[Outcome, Outcome, Callable[[Tensor, Tensor], Tensor]]


def binary_kernel(
    targets: Tensor,
    scores: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    *,
    from_logits: bool,
    positive_weight: float = 1.0,
    negative_weight: float = 1.0,
) -> Tensor:
    """Computes y l(p) + (1 - y) l(1 - p) for each label y, of the shape of the labels.

    Args:
        targets: labels in [0, 1], of any shape.
        scores: logits or probabilities of the same shape.
        value: the loss as a function of `(log_p, p, q)`, see `true_class_kernel`.
        weight: `-dl/dlog_p` as a function of the same.
        from_logits: whether `scores` are logits.
        positive_weight: factor of the y = 1 part.
        negative_weight: factor of the y = 0 part.
    """
    positive = positive_weight * targets
    negative = negative_weight * (1.0 - targets)
    parts = _of_logits if from_logits else _of_probabilities

    def forward(scores: Tensor) -> tuple[Tensor, Backward]:
        of_positive, of_negative, gradient = parts(scores)
        loss = positive * value(*of_positive) + negative * value(*of_negative)

        def backward(upstream: Tensor) -> Tensor:
            up, down = positive * weight(*of_positive), negative * weight(*of_negative)
            return upstream * gradient(up, down)

        return loss, backward

    return with_gradient(forward, scores)


def _of_logits(z: Tensor) -> Parts:
    """Returns what is true of both outcomes.

    Returns:
        `(log_p, p, q)` of each, and the gradient of the loss as a function of their
        weights.
    """
    # Sigmoid and its complement from one exponential that cannot overflow.
    e = ops.exp(-ops.abs(z))
    small, large = e / (1.0 + e), 1.0 / (1.0 + e)
    p = ops.where(z >= 0.0, large, small)
    q = ops.where(z >= 0.0, small, large)
    log_p = at_most(z, 0.0) - ops.log1p(e)
    log_q = at_most(-z, 0.0) - ops.log1p(e)
    of_positive = log_p, at_least(p, tiny(z)), q
    of_negative = log_q, at_least(q, tiny(z)), p
    return of_positive, of_negative, lambda up, down: down * p - up * q


def _of_probabilities(p: Tensor) -> Parts:
    """Returns the same."""
    q = at_least(1.0 - p, tiny(p))
    p = at_least(p, tiny(p))
    # 1 - p is exact for p >= 1/2, and log1p for what is below.
    log_q = ops.where(p < 0.5, ops.log1p(-at_most(p, 0.5)), ops.log(q))
    of_positive = ops.log(p), p, at_least(1.0 - p, 0.0)
    return of_positive, (log_q, q, p), lambda up, down: down / q - up / p
