"""The kernel of true-class losses of independent binary labels (sigmoid outputs)."""

from __future__ import annotations

from keras import ops

from keras_calib.ops.floats import at_least, at_most, tiny
from keras_calib.ops.true_class import Backward, ScalarFunction, with_gradient
from keras_calib.types import Tensor


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
    kernel = _logits if from_logits else _probabilities
    return kernel(positive, negative, scores, value, weight)


def _logits(
    positive: Tensor,
    negative: Tensor,
    z: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
) -> Tensor:
    def forward(z: Tensor) -> tuple[Tensor, Backward]:
        # Sigmoid and its complement from one exponential that cannot overflow.
        e = ops.exp(-ops.abs(z))
        small, large = e / (1.0 + e), 1.0 / (1.0 + e)
        p = ops.where(z >= 0.0, large, small)
        q = ops.where(z >= 0.0, small, large)
        log_p = at_most(z, 0.0) - ops.log1p(e)
        log_q = at_most(-z, 0.0) - ops.log1p(e)
        of_positive = (log_p, at_least(p, tiny(z)), q)
        of_negative = (log_q, at_least(q, tiny(z)), p)
        loss = positive * value(*of_positive) + negative * value(*of_negative)

        def backward(upstream: Tensor) -> Tensor:
            down = negative * weight(*of_negative) * p
            return upstream * (down - positive * weight(*of_positive) * q)

        return loss, backward

    return with_gradient(forward, z)


def _probabilities(
    positive: Tensor,
    negative: Tensor,
    p: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
) -> Tensor:
    def forward(p: Tensor) -> tuple[Tensor, Backward]:
        q = at_least(1.0 - p, tiny(p))
        p = at_least(p, tiny(p))
        of_positive = (ops.log(p), p, at_least(1.0 - p, 0.0))
        # 1 - p is exact for p >= 1/2, and log1p for what is below.
        log_q = ops.where(p < 0.5, ops.log1p(-at_most(p, 0.5)), ops.log(q))
        of_negative = (log_q, q, p)
        loss = positive * value(*of_positive) + negative * value(*of_negative)

        def backward(upstream: Tensor) -> Tensor:
            down = negative * weight(*of_negative) / q
            return upstream * (down - positive * weight(*of_positive) / p)

        return loss, backward

    return with_gradient(forward, p)
