"""The kernel of the losses of the true class's probability.

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

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_calib.ops.cross_entropy import cross_entropy_value, cross_entropy_weight
from keras_calib.ops.floats import at_least, last_mean, tiny
from keras_calib.ops.rows import pick, row_indices, row_max, row_min
from keras_calib.types import Tensor

ScalarFunction: TypeAlias = Callable[..., Tensor]
Gradients: TypeAlias = tuple[Tensor | None, ...]
Backward: TypeAlias = Callable[[Tensor], Gradients]
Parts: TypeAlias = tuple[tuple[Tensor, Tensor, Tensor], Tensor, Callable[..., Tensor]]

# How far above 1 rounding puts a probability: most in half precision.
_ROUNDING = 2e-3


def true_class_kernel(
    labels: Tensor,
    scores: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    *,
    soft: bool,
    from_logits: bool,
    label_smoothing: float = 0.0,
    parameters: Sequence[Tensor] = (),
) -> Tensor:
    """Computes a loss of the true class's probability, of shape (N,).

    It has gradients in scores, targets and parameters. Forward mode has none.

    Args:
        labels: int32 labels of shape (N,), or targets of shape (N, K), t, which give
            sum_i t_i l(p_i).
        scores: logits or probabilities of shape (N, K). Probabilities are taken as
            at least the smallest normal float. The loss is NaN where the label's
            probability is outside [0, 1]; for targets, where that of any class is.
        value: the loss as a function of `(log_p, p, q, *parameters)`. `p` is at least
            the smallest normal float; `log_p` may be below its logarithm.
        weight: `-dl/dlog_p` as a function of the same.
        soft: whether `labels` are targets.
        from_logits: whether `scores` are logits.
        label_smoothing: e in (1 - e) l + e * mean_j(-log p_j).
        parameters: scalars that `value` and `weight` depend on. A tensor that JAX
            traces must be passed here: neither function may capture it.
    """
    if not from_logits:
        if soft:
            losses = _elementwise(scores, value, weight, parameters)
            loss = ops.sum(labels * losses, axis=-1)
            probable = ops.squeeze(are_probabilities(scores), -1)
        else:
            p = pick(scores, labels)
            loss = _elementwise(p, value, weight, parameters)
            probable = ops.logical_and(p >= 0.0, p <= 1.0 + _ROUNDING)
        loss = ops.where(probable, loss, float("nan"))
        if not label_smoothing:
            return loss
        clipped = at_least(scores, tiny(scores))
        uniform = last_mean(
            _elementwise(clipped, cross_entropy_value, cross_entropy_weight, ())
        )
        return (1.0 - label_smoothing) * loss + label_smoothing * uniform
    parts = _soft_parts if soft else _hard_parts

    def forward(y: Tensor, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Backward]:
        z = z - row_max(z)
        true, log_total, gradient = parts(y, z, label_smoothing)
        loss = each = value(*true, *parameters)
        if soft:
            loss = ops.sum(unless_zero(each, y), axis=-1)
        if label_smoothing:
            # mean(-log p) = log sum exp z - mean z; with max z = 0 neither term is < 0.
            uniform = log_total - last_mean(z)
            loss = (1.0 - label_smoothing) * loss + label_smoothing * uniform

        def backward(upstream: Tensor) -> Gradients:
            share = (1.0 - label_smoothing) * upstream if label_smoothing else upstream
            of_y = None
            if soft:
                of_y = unless_zero(each, _column(share))
                share = _column(share) * y
            return (
                of_y,
                gradient(upstream, weight(*true, *parameters)),
                *of_parameters(partial(value, *true), parameters, share),
            )

        return loss, backward

    return with_gradient(forward, labels, scores, *parameters)


def _hard_parts(y: Tensor, z: Tensor, smoothing: float) -> Parts:
    """Returns the terms of a loss of integer labels, for max z = 0.

    Returns:
        `(log_p, p, q)` of the true class, log sum exp z, and the gradient of the loss
        as a function of the upstream gradient and of the weight.
    """
    rows = row_indices(y)
    z_y = pick(z, y)
    e_y = ops.exp(z_y)
    e = ops.scatter_update(ops.exp(z), rows, ops.zeros_like(e_y))
    rest = ops.sum(e, axis=-1)
    total = rest + e_y
    # log(total) as log1p(total - 1): with the true class on top e_y - 1 is 0
    # and `rest` keeps all its digits; below the top all terms have one sign.
    log_total = ops.log1p(rest + (e_y - 1.0))
    q = rest / total

    def gradient(upstream: Tensor, weight: Tensor) -> Tensor:
        if not smoothing:
            # With -rest in the true class's place, one product gives every entry.
            scale = unless_zero(weight / total, upstream)
            return unless_zero(ops.scatter_update(e, rows, -rest), _column(scale))
        weight = (1.0 - smoothing) * weight
        scale = unless_zero((weight + smoothing) / total, upstream)
        true = unless_zero(smoothing * (e_y / total) - weight * q, upstream)
        gradient = ops.scatter_update(unless_zero(e, _column(scale)), rows, true)
        return gradient - _column((smoothing / z.shape[-1]) * upstream)

    return (z_y - log_total, at_least(e_y / total, tiny(z)), q), log_total, gradient


def _soft_parts(t: Tensor, z: Tensor, smoothing: float) -> Parts:
    """Returns the same terms of every class, for targets."""
    e = ops.exp(z)
    rest, of_top = _sum_of_others(e)
    total, log_total = rest + e, ops.log1p(of_top)
    p, q = at_least(e / total, tiny(z)), rest / total

    def gradient(upstream: Tensor, weight: Tensor) -> Tensor:
        w = unless_zero(weight, t) * (1.0 - smoothing)
        gradient = p * _sum_of_others(w)[0] - w * q
        if smoothing:
            gradient = gradient + smoothing * (p - 1.0 / z.shape[-1])
        return unless_zero(gradient, _column(upstream))

    return (z - _column(log_total), p, q), log_total, gradient


def _elementwise(
    p: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    parameters: Sequence[Tensor],
) -> Tensor:
    def forward(p: Tensor, *parameters: Tensor) -> tuple[Tensor, Backward]:
        p = at_least(p, tiny(p))
        true = ops.log(p), p, at_least(1.0 - p, 0.0)

        def backward(upstream: Tensor) -> Gradients:
            # Not W / p: for W = A / B, XLA computes A / (B p), and B p underflows.
            slope = weight(*true, *parameters) * (1.0 / p)
            rest = of_parameters(partial(value, *true), parameters, upstream)
            return -unless_zero(slope, upstream), *rest

        return value(*true, *parameters), backward

    return with_gradient(forward, p, *parameters)


def are_probabilities(x: Tensor) -> Tensor:
    """Says of each row, as a column, whether all of it lies in [0, 1]."""
    # Two reductions, because comparing all entries would write two more tensors.
    return ops.logical_and(row_min(x) >= 0.0, row_max(x) <= 1.0 + _ROUNDING)


def unless_zero(x: Tensor, factor: Tensor) -> Tensor:
    """Returns x * factor, 0 where the factor is 0, even if x is infinite."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.math.multiply_no_nan(x, factor)
    return ops.where(factor == 0.0, 0.0, x * factor)


def of_parameters(
    losses: Callable[..., Tensor], parameters: Sequence[Tensor], upstream: Tensor
) -> Gradients:
    """Returns the gradient of sum(upstream * losses(*parameters)) in each parameter."""
    if not parameters:
        return ()
    if keras.backend.backend() == "jax":
        import jax

        return tuple(jax.vjp(losses, *parameters)[1](upstream))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(parameters)
            value = losses(*parameters)
        zero = tf.UnconnectedGradients.ZERO
        return tuple(tape.gradient(value, parameters, upstream, zero))
    import torch

    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    again = {"create_graph": torch.is_grad_enabled(), "materialize_grads": True}
    gradients: Iterator[Tensor] = iter(())
    if wanted:
        with torch.enable_grad():
            value = losses(*parameters)
        gradients = iter(torch.autograd.grad(value, wanted, upstream, **again))
    return tuple(next(gradients) if x.requires_grad else None for x in parameters)


def _sum_of_others(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns sum_{i != j} x_i for each j of the last axis, and for the largest x_j.

    All x are at least 0. For the largest entry, the others are summed with a zero in
    its place: `total - x` would cancel there, and only there.
    """
    top = ops.argmax(x, axis=-1)
    rows = row_indices(top)
    largest = row_max(x)[:, 0]
    rest = ops.sum(ops.scatter_update(x, rows, ops.zeros_like(largest)), axis=-1)
    return ops.scatter_update(_column(rest + largest) - x, rows, rest), rest


def with_gradient(
    forward: Callable[..., tuple[Tensor, Backward]], *arguments: Tensor
) -> Tensor:
    """Calls `forward(*arguments) -> (y, backward)`, and differentiates by `backward`.

    `backward(dy)` returns the gradient in each argument, `None` for integers. If it
    consists of differentiable operations, the gradients are differentiable. Neither
    function may capture a tensor that JAX traces; pass it as an argument.
    """

    @ops.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
    def function(*arguments: Tensor) -> tuple[Tensor, Callable[..., Gradients]]:
        y, backward = forward(*arguments)

        # TensorFlow and JAX pass the upstream gradient alone; torch passes the
        # inputs too, and the gradient by name.
        def gradient(*args: Any, upstream: Tensor | None = None) -> Gradients:
            if upstream is None:
                return backward(args[0])
            import torch

            # torch ran `forward` without a graph. It runs again where a second
            # derivative may follow.
            again = torch.is_grad_enabled()
            return (forward(*args)[1] if again else backward)(upstream)

        return y, gradient

    return function(*arguments)


def _column(x: Tensor) -> Tensor:
    return ops.expand_dims(x, -1)
