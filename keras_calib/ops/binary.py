"""The kernel of true-class losses of independent binary labels (sigmoid outputs)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from keras import ops

from keras_calib.ops.floats import at_least, at_least_float32, at_most, tiny
from keras_calib.ops.gradients import (
    Backward,
    Gradients,
    of_parameters,
    unless_zero,
    with_gradient,
)
from keras_calib.ops.true_class import ScalarFunction, are_probabilities
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
    parameters: Sequence[Tensor] = (),
) -> Tensor:
    """Computes y l(p) + (1 - y) l(1 - p) for each label y, of the shape of the labels.

    Args:
        targets: labels in [0, 1], of shape (..., L).
        scores: logits or probabilities of the same shape.
        value: the loss as a function of `(log_p, p, q)`, see `true_class_kernel`.
        weight: `-dl/dlog_p` as a function of the same.
        from_logits: whether `scores` are logits.
        positive_weight: factor of the y = 1 part.
        negative_weight: factor of the y = 0 part.
        parameters: scalars that `value` and `weight` depend on, see
            `true_class_kernel`.
    """
    parts = _of_logits if from_logits else _of_probabilities

    def forward(
        y: Tensor, scores: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Backward]:
        positive, negative = positive_weight * y, negative_weight * (1.0 - y)
        of_positive, of_negative, gradient = parts(at_least_float32(scores))

        outcomes = *of_positive, *of_negative

        def losses(*given: Tensor) -> Tensor:
            parameters = given[6:]
            up, down = value(*given[:3], *parameters), value(*given[3:6], *parameters)
            return unless_zero(up, positive) + unless_zero(down, negative)

        def backward(upstream: Tensor) -> Gradients:
            up = unless_zero(weight(*of_positive, *parameters), positive)
            down = unless_zero(weight(*of_negative, *parameters), negative)
            slope = positive_weight * value(*of_positive, *parameters)
            slope = slope - negative_weight * value(*of_negative, *parameters)
            return (
                unless_zero(slope, upstream),
                unless_zero(gradient(up, down), upstream),
                *of_parameters(losses, outcomes, parameters, upstream),
            )

        return losses(*outcomes, *parameters), backward

    losses = with_gradient(forward, targets, scores, *parameters)
    probable = are_probabilities(targets)
    if not from_logits:
        probable = ops.logical_and(probable, are_probabilities(scores))
    return ops.where(probable, losses, float("nan"))


def _of_logits(z: Tensor) -> Parts:
    """Returns the terms of both outcomes, from logits.

    Returns:
        `(log_p, p, q)` of each, and the gradient of the loss as a function of their
        weights.
    """
    # Sigmoid and its complement from one exponential that cannot overflow. Every
    # branch is differentiable at z = 0, where |z| is not.
    positive = z >= 0.0
    low = ops.where(positive, -z, z)
    e = ops.exp(low)
    small, large = e / (1.0 + e), 1.0 / (1.0 + e)
    p = ops.where(positive, large, small)
    q = ops.where(positive, small, large)
    zero, log_total = ops.zeros_like(z), ops.log1p(e)
    log_p = ops.where(positive, zero, low) - log_total
    log_q = ops.where(positive, low, zero) - log_total
    of_positive = log_p, at_least(p, tiny(z)), q
    of_negative = log_q, at_least(q, tiny(z)), p
    return of_positive, of_negative, lambda up, down: down * p - up * q


def _of_probabilities(p: Tensor) -> Parts:
    """Returns the same, from probabilities."""
    q = at_least(1.0 - p, tiny(p))
    p = at_least(p, tiny(p))
    # 1 - p is exact for p >= 1/2; below, log1p is accurate.
    log_q = ops.where(p < 0.5, ops.log1p(-at_most(p, 0.5)), ops.log(q))
    of_positive = ops.log(p), p, at_least(1.0 - p, 0.0)
    return (
        of_positive,
        (log_q, q, p),
        lambda up, down: down * (1.0 / q) - up * (1.0 / p),
    )
