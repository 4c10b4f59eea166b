"""The kernel of the losses of the true class's probability.

Such a loss is two scalar functions of the true class's log-probability, its
probability p and q = 1 - p:

    value(log_p, p, q)  = l
    weight(log_p, p, q) = -dl / dlog p = W

and its gradient in the logits is W p_j for the other classes and -W q for the
true one. The kernel takes the maximum and the exponentials once, computes log p and
q without cancellation, and returns that gradient directly. Half-precision scores are
read as they are, and all is computed in float32.

Of tensors the size of the logits, TensorFlow and torch keep the exponentials for the
gradient, and JAX keeps nothing, see `with_gradient`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from keras import ops

from keras_calib.ops.cross_entropy import cross_entropy_value, cross_entropy_weight
from keras_calib.ops.exponentials import exponentials
from keras_calib.ops.floats import (
    at_least,
    at_least_float32,
    dtype_name,
    last_mean,
    tiny,
)
from keras_calib.ops.gradients import (
    Backward,
    Gradients,
    entry,
    of_parameters,
    unless_zero,
    with_gradient,
)
from keras_calib.ops.rows import pick, row_max, row_min, set_entry, with_entry
from keras_calib.types import Tensor

ScalarFunction: TypeAlias = Callable[..., Tensor]
Parts: TypeAlias = tuple[tuple[Tensor, Tensor, Tensor], Tensor, Callable[..., Tensor]]

# How far above 1 rounding may put a probability; half precision needs the most.
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
    score_factor: float = 1.0,
    score_shift: Sequence[float] | None = None,
) -> Tensor:
    """Computes a loss of the true class's probability, of shape (N,).

    It has gradients in scores, targets and parameters, but not in forward mode.

    Args:
        labels: int32 labels of shape (N,), or targets of shape (N, K), t, which give
            sum_i t_i l(p_i).
        scores: logits or probabilities of shape (N, K), of any floating-point dtype.
            Probabilities are taken as at least the smallest normal float. The loss is
            NaN where the label's probability is outside [0, 1]; for targets, where
            that of any class is.
        value: the loss as a function of `(log_p, p, q, *parameters)`. `p` is at least
            the smallest normal float; `log_p` may be below its logarithm.
        weight: `-dl/dlog_p` as a function of the same.
        soft: whether `labels` are targets.
        from_logits: whether `scores` are logits.
        label_smoothing: e in (1 - e) l + e * mean_j(-log p_j).
        parameters: scalars that `value` and `weight` depend on. A tensor that JAX
            traces must be passed here: neither function may capture it.
        score_factor: a factor of the logits.
        score_shift: numbers that are added to the logits, one for each class.
    """
    if not from_logits:
        return _of_probabilities(
            labels, scores, value, weight, soft, label_smoothing, parameters
        )

    def forward(y: Tensor, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Backward]:
        parts = _soft_parts if soft else _hard_parts
        if score_factor != 1.0:
            z = score_factor * at_least_float32(z)
        if score_shift is not None:
            z = at_least_float32(z)
            z = z + ops.convert_to_tensor(score_shift, dtype_name(z))
        true, uniform, gradient = parts(y, z, label_smoothing)
        loss = each = value(*true, *parameters)
        if soft:
            loss = ops.sum(unless_zero(each, y), axis=-1)
        if label_smoothing:
            loss = (1.0 - label_smoothing) * loss + label_smoothing * uniform

        def backward(upstream: Tensor) -> Gradients:
            share = (1.0 - label_smoothing) * upstream if label_smoothing else upstream
            of_z = gradient(upstream, weight(*true, *parameters))
            if score_factor != 1.0:
                of_z = score_factor * of_z
            of_y = None
            if soft:
                of_y = unless_zero(each, _column(share))
                share = _column(share) * y
            of_rest = of_parameters(value, true, parameters, share)
            return of_y, of_z, *of_rest

        return loss, backward

    return with_gradient(forward, labels, scores, *parameters)


def _hard_parts(y: Tensor, z: Tensor, smoothing: float) -> Parts:
    """Returns the terms of a loss of integer labels.

    Returns:
        `(log_p, p, q)` of the true class, mean(-log p) over all classes if there is
        smoothing, and the gradient of the loss as a function of the upstream gradient
        and of the weight.
    """
    dtype = dtype_name(z)
    top, scale, e, rest = exponentials(z, y, reads=2 if smoothing else 1)
    z_y = at_least_float32(pick(z, y)) - top
    e_y, log_scale = ops.exp(z_y), 0.0
    if scale is not None:
        e_y, log_scale = scale * e_y, ops.log(scale)
        z_y = z_y + log_scale
    total = rest + e_y
    # log(total) as log1p(total - 1): with the true class on top e_y - 1 is 0
    # and `rest` keeps all its digits; below the top all terms have one sign.
    log_total = ops.log1p(rest + (e_y - 1.0))
    q = rest / total

    def gradient(upstream: Tensor, weight: Tensor) -> Tensor:
        if not smoothing:
            # With -rest in the true class's place, one product gives every entry.
            scale = unless_zero(weight / total, upstream)
            return unless_zero(set_entry(e, y, -rest), _column(scale), dtype)
        weight = (1.0 - smoothing) * weight
        scale = unless_zero((weight + smoothing) / total, upstream)
        true = unless_zero(smoothing * (e_y / total) - weight * q, upstream)
        gradient = set_entry(unless_zero(e, _column(scale)), y, true)
        return gradient - _column((smoothing / z.shape[-1]) * upstream)

    uniform: Tensor = None
    if smoothing:
        uniform = _uniform(at_least_float32(z) - _column(top), log_total - log_scale)
    return (z_y - log_total, at_least(e_y / total, tiny(e)), q), uniform, gradient


def _soft_parts(t: Tensor, z: Tensor, smoothing: float) -> Parts:
    """Returns the same terms of every class, for targets."""
    z = at_least_float32(z)
    z = z - row_max(z)
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

    true = z - _column(log_total), p, q
    return true, _uniform(z, log_total) if smoothing else None, gradient


def _uniform(z: Tensor, log_total: Tensor) -> Tensor:
    # mean(-log p) = log sum exp z - mean z; with max z = 0 neither term is below 0.
    return log_total - last_mean(z)


def _of_probabilities(
    labels: Tensor,
    scores: Tensor,
    value: ScalarFunction,
    weight: ScalarFunction,
    soft: bool,
    label_smoothing: float,
    parameters: Sequence[Tensor],
) -> Tensor:
    """Returns the loss from probabilities, see `true_class_kernel`."""
    if soft:
        scores = at_least_float32(scores)
        losses = _elementwise(scores, value, weight, parameters)
        loss = ops.sum(labels * losses, axis=-1)
        probable = ops.squeeze(are_probabilities(scores), -1)
    else:
        p = at_least_float32(entry(scores, labels))
        loss = _elementwise(p, value, weight, parameters)
        probable = ops.logical_and(p >= 0.0, p <= 1.0 + _ROUNDING)
    loss = ops.where(probable, loss, float("nan"))
    if not label_smoothing:
        return loss
    scores = at_least_float32(scores)
    clipped = at_least(scores, tiny(scores))
    uniform = last_mean(
        _elementwise(clipped, cross_entropy_value, cross_entropy_weight, ())
    )
    return (1.0 - label_smoothing) * loss + label_smoothing * uniform


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
            rest = of_parameters(value, true, parameters, upstream)
            return -unless_zero(slope, upstream), *rest

        return value(*true, *parameters), backward

    return with_gradient(forward, p, *parameters)


def are_probabilities(x: Tensor) -> Tensor:
    """Returns a column that says whether all entries of a row lie in [0, 1]."""
    # Two reductions, because comparing all entries would write two more tensors.
    return ops.logical_and(row_min(x) >= 0.0, row_max(x) <= 1.0 + _ROUNDING)


def _sum_of_others(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns sum_{i != j} x_i for each j of the last axis, and for the largest x_j.

    All x are at least 0. For the largest entry, the others are summed with a zero in
    its place: `total - x` would cancel there, and only there.
    """
    top = ops.argmax(x, axis=-1)
    largest = row_max(x)[:, 0]
    rest = ops.sum(with_entry(x, top, ops.zeros_like(largest)), axis=-1)
    return with_entry(_column(rest + largest) - x, top, rest), rest


def _column(x: Tensor) -> Tensor:
    return ops.expand_dims(x, -1)
