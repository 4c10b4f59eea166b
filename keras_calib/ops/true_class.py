"""The one kernel of every loss on the probability of the true class.

Such a loss is two scalar functions of the true class's log-probability, its
probability p and q = 1 - p:

    value(log_p, p, q)  = l
    weight(log_p, p, q) = -dl / dlog p = W

and its gradient in the logits is W p_j for the other classes and -W q for the
true one. The kernel takes the maximum and the exponentials once, computes log p and
q without cancellation, and returns that gradient directly: of tensors the size of
the logits it keeps only the exponentials.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from keras import ops

from keras_calib.ops.floats import at_least, last_mean, tiny
from keras_calib.ops.rows import pick, row_indices
from keras_calib.types import Tensor

ScalarFunction: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
Backward: TypeAlias = Callable[[Tensor], Tensor]


def true_class_kernel(
    labels: Tensor,
    scores: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    *,
    soft: bool,
    from_logits: bool,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Computes a loss of the true class's probability, of shape (N,).

    Args:
        labels: int32 labels of shape (N,), or targets of shape (N, K), t, which give
            sum_i t_i l(p_i).
        scores: logits or probabilities of shape (N, K). Probabilities are taken as
            at least the smallest normal float.
        value: the loss as a function of `(log_p, p, q)`. `p` is at least the
            smallest normal float; `log_p` may be below its logarithm.
        weight: `-dl/dlog_p` as a function of the same.
        soft: whether `labels` are targets.
        from_logits: whether `scores` are logits.
        label_smoothing: e in (1 - e) l + e * mean_j(-log p_j).
    """
    kernel: Callable[..., Tensor]
    if from_logits:
        kernel = _soft_logits if soft else _logits
    else:
        kernel = _soft_probabilities if soft else _probabilities
    return kernel(labels, scores, value, weight, label_smoothing)


def _logits(
    y: Tensor,
    z: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    smoothing: float,
) -> Tensor:
    rows = row_indices(y)
    zeros = ops.zeros_like(y, dtype=z.dtype)

    def forward(z: Tensor) -> tuple[Tensor, Backward]:
        z = z - ops.max(z, axis=-1, keepdims=True)
        z_y = pick(z, y)
        e_y = ops.exp(z_y)
        e = ops.scatter_update(ops.exp(z), rows, zeros)
        rest = ops.sum(e, axis=-1)
        total = rest + e_y
        # log(total) as log1p(total - 1): with the true class on top e_y - 1 is 0
        # and `rest` keeps all its digits; below the top all terms have one sign.
        log_total = ops.log1p(rest + (e_y - 1.0))
        log_p = z_y - log_total
        p = at_least(e_y / total, tiny(z))
        q = rest / total
        loss = value(log_p, p, q)
        if smoothing:
            loss = _smooth(loss, log_total, z, smoothing)

        def backward(upstream: Tensor) -> Tensor:
            scale = upstream * weight(log_p, p, q)
            if not smoothing:
                # -rest in the true class's place makes one product of it all.
                return ops.scatter_update(e, rows, -rest) * _column(scale / total)
            share = smoothing * upstream
            scale = (1.0 - smoothing) * scale
            others = e * _column((scale + share) / total)
            true = share * (e_y / total) - scale * q
            mean = _column(share / z.shape[-1])
            return ops.scatter_update(others, rows, true) - mean

        return loss, backward

    return with_gradient(forward, z)


def _soft_logits(
    t: Tensor,
    z: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    smoothing: float,
) -> Tensor:
    def forward(z: Tensor) -> tuple[Tensor, Backward]:
        z = z - ops.max(z, axis=-1, keepdims=True)
        e = ops.exp(z)
        rest = _sum_of_others(e)
        total = rest + e
        log_total = ops.log1p(ops.min(rest, axis=-1))
        log_p = z - _column(log_total)
        p = at_least(e / total, tiny(z))
        q = rest / total
        loss = ops.sum(t * value(log_p, p, q), axis=-1)
        if smoothing:
            loss = _smooth(loss, log_total, z, smoothing)

        def backward(upstream: Tensor) -> Tensor:
            w = t * weight(log_p, p, q) * (1.0 - smoothing)
            gradient = p * _sum_of_others(w) - w * q
            if smoothing:
                gradient = gradient + smoothing * (p - 1.0 / z.shape[-1])
            return gradient * _column(upstream)

        return loss, backward

    return with_gradient(forward, z)


def _probabilities(
    y: Tensor,
    p: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    smoothing: float,
) -> Tensor:
    loss = _elementwise(pick(p, y), value, weight)
    return _smooth_probabilities(loss, p, smoothing)


def _soft_probabilities(
    t: Tensor,
    p: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    smoothing: float,
) -> Tensor:
    loss = ops.sum(t * _elementwise(p, value, weight), axis=-1)
    return _smooth_probabilities(loss, p, smoothing)


def _elementwise(p: Tensor, value: ScalarFunction, weight: ScalarFunction) -> Tensor:
    def forward(p: Tensor) -> tuple[Tensor, Backward]:
        p = at_least(p, tiny(p))
        q = at_least(1.0 - p, 0.0)
        log_p = ops.log(p)

        def backward(upstream: Tensor) -> Tensor:
            return -upstream * (weight(log_p, p, q) / p)

        return value(log_p, p, q), backward

    return with_gradient(forward, p)


def _smooth(loss: Tensor, log_total: Tensor, z: Tensor, smoothing: float) -> Tensor:
    # mean(-log p) = log sum exp z - mean z; with max z = 0 neither term is < 0.
    uniform = log_total - last_mean(z)
    return (1.0 - smoothing) * loss + smoothing * uniform


def _smooth_probabilities(loss: Tensor, p: Tensor, smoothing: float) -> Tensor:
    if not smoothing:
        return loss
    uniform = -last_mean(ops.log(at_least(p, tiny(p))))
    return (1.0 - smoothing) * loss + smoothing * uniform


def _sum_of_others(x: Tensor) -> Tensor:
    """Returns sum_{i != j} x_i for each j of the last axis, for x >= 0.

    The largest entry is left out by a zero in its place: `total - x` would cancel
    there, and only there.
    """
    top = ops.argmax(x, axis=-1)
    rows = row_indices(top)
    largest = ops.max(x, axis=-1)
    rest = ops.sum(ops.scatter_update(x, rows, ops.zeros_like(largest)), axis=-1)
    return ops.scatter_update(_column(rest + largest) - x, rows, rest)


def with_gradient(
    forward: Callable[[Tensor], tuple[Tensor, Backward]], x: Tensor
) -> Tensor:
    """Calls `forward(x) -> (y, backward)` so that backward(dy) is dx.

    Where backward is made of differentiable operations, so is dx.
    """

    @ops.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
    def function(x: Tensor) -> tuple[Tensor, Callable[..., Tensor]]:
        y, backward = forward(x)

        # TensorFlow and JAX pass the upstream gradient alone; torch passes the
        # inputs too, and the gradient by name.
        def gradient(*args: Any, upstream: Tensor | None = None) -> Tensor:
            if upstream is None:
                return backward(args[0])
            import torch

            # The graph of dx, which is recorded where a second derivative may
            # follow: torch ran `forward` without one.
            again = torch.is_grad_enabled()
            return (forward(*args)[1] if again else backward)(upstream)

        return y, gradient

    return function(x)


def _column(x: Tensor) -> Tensor:
    return ops.expand_dims(x, -1)
