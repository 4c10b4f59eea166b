"""The one kernel of every loss on the probability of the true class.

Such a loss is two scalar functions of what is known of the true class, its
log-probability, its probability p and q = 1 - p:

    value(log_p, p, q)  = l
    weight(log_p, p, q) = -dl / dlog p = W

and its gradient in the logits is W p_j for the other classes and -W q for the
true one. The kernel takes the maximum and the exponentials once, finds log p and
q with no cancellation, and gives that gradient directly: nothing of the size of
the logits is kept but the exponentials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from keras_calib.ops.floats import at_least, at_least_float32, last_mean, tiny
from keras_calib.ops.labels import class_labels, is_valid
from keras_calib.ops.rows import pick, row_indices

ScalarFunction = Callable[[Any, Any, Any], Any]


def true_class_loss(
    y_true: Any,
    y_pred: Any,
    value: ScalarFunction,
    weight: ScalarFunction,
    *,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    class_weights: float | Sequence[float] | None = None,
    ignore_class: int | None = None,
) -> Any:
    """Computes a loss of the true class's probability, one value a sample.

    Soft targets t give sum_i t_i l(p_i).

    Args:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets of shape
            `(..., K)`.
        y_pred: logits or probabilities of shape `(..., K)`. Probabilities of a
            Keras softmax are traced back to their logits, as Keras's own
            cross-entropy does; others are read as they are, no smaller than the
            smallest normal float.
        value: the loss as a function of `(log_p, p, q)`. `p` is at least the
            smallest normal float; `log_p` goes on below.
        weight: `-dl/dlog_p` as a function of the same.
        from_logits: whether `y_pred` are logits.
        label_smoothing: e in (1 - e) l + e * mean_j(-log p_j).
        class_weights: one factor for each of the K classes, or one for all.
        ignore_class: integer label whose samples give 0.

    Returns:
        Losses of shape `(...)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: for shapes that do not fit, and for `ignore_class` with soft
            targets.
    """
    if not from_logits and getattr(y_pred, "_keras_logits", None) is not None:
        y_pred, from_logits = y_pred._keras_logits, True
    y_pred = at_least_float32(y_pred)
    y_true = ops.convert_to_tensor(y_true)
    labels, soft = class_labels(y_true, y_pred)
    if soft and ignore_class is not None:
        raise ValueError(
            "`ignore_class` needs integer labels. Received: "
            f"ignore_class={ignore_class}, y_true.shape={tuple(y_true.shape)}"
        )
    if ignore_class is not None:
        valid = is_valid(labels, ignore_class)
        labels = ops.where(valid, labels, 0)

    batch_shape = ops.shape(y_pred)[:-1]
    k = y_pred.shape[-1]
    z = ops.reshape(y_pred, (-1, k))
    t: Any = ops.cast(ops.reshape(labels, (-1, k)), z.dtype) if soft else None
    y = None if soft else ops.reshape(labels, (-1,))
    if class_weights is not None:
        class_weights = _class_weights(class_weights, k, z.dtype)
        t = t * class_weights if soft else None

    if not from_logits:
        kernel = _soft_probabilities if soft else _probabilities
    else:
        kernel = _soft_logits if soft else _logits
    losses = kernel(t if soft else y, z, value, weight, label_smoothing)

    if class_weights is not None and not soft:
        losses = losses * ops.take(class_weights, y)
    losses = ops.reshape(losses, batch_shape)
    return ops.where(valid, losses, 0.0) if ignore_class is not None else losses


def _class_weights(factors, k, dtype):
    factors = ops.cast(ops.convert_to_tensor(factors), dtype)
    if tuple(factors.shape) not in ((), (k,)):
        raise ValueError(
            f"There must be one class weight, or one for each of the {k} classes. "
            f"Received: {factors.shape[0]} weights"
        )
    return ops.broadcast_to(factors, (k,))


def _logits(y, z, value, weight, smoothing):
    rows = row_indices(y)
    zeros = ops.zeros_like(y, dtype=z.dtype)

    def forward(z):
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

        def backward(upstream):
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


def _soft_logits(t, z, value, weight, smoothing):
    def forward(z):
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

        def backward(upstream):
            w = t * weight(log_p, p, q) * (1.0 - smoothing)
            gradient = p * _sum_of_others(w) - w * q
            if smoothing:
                gradient = gradient + smoothing * (p - 1.0 / z.shape[-1])
            return gradient * _column(upstream)

        return loss, backward

    return with_gradient(forward, z)


def _probabilities(y, p, value, weight, smoothing):
    loss = _elementwise(pick(p, y), value, weight)
    return _smooth_probabilities(loss, p, smoothing)


def _soft_probabilities(t, p, value, weight, smoothing):
    loss = ops.sum(t * _elementwise(p, value, weight), axis=-1)
    return _smooth_probabilities(loss, p, smoothing)


def _elementwise(p, value, weight):
    def forward(p):
        p = at_least(p, tiny(p))
        q = at_least(1.0 - p, 0.0)
        log_p = ops.log(p)

        def backward(upstream):
            return -upstream * (weight(log_p, p, q) / p)

        return value(log_p, p, q), backward

    return with_gradient(forward, p)


def _smooth(loss, log_total, z, smoothing):
    # mean(-log p) = log sum exp z - mean z; with max z = 0 neither term is < 0.
    uniform = log_total - last_mean(z)
    return (1.0 - smoothing) * loss + smoothing * uniform


def _smooth_probabilities(loss, p, smoothing):
    if not smoothing:
        return loss
    uniform = -last_mean(ops.log(at_least(p, tiny(p))))
    return (1.0 - smoothing) * loss + smoothing * uniform


def _sum_of_others(x):
    """Returns sum_{i != j} x_i for each j of the last axis, for x >= 0.

    The largest entry is left out by a zero in its place: `total - x` would cancel
    there, and only there.
    """
    top = ops.argmax(x, axis=-1)
    rows = row_indices(top)
    largest = ops.max(x, axis=-1)
    rest = ops.sum(ops.scatter_update(x, rows, ops.zeros_like(largest)), axis=-1)
    return ops.scatter_update(_column(rest + largest) - x, rows, rest)


def with_gradient(forward, x):
    """Calls `forward(x) -> (y, backward)` so that backward(dy) is dx.

    Where backward is made of differentiable operations, so is dx.
    """

    @ops.custom_gradient
    def function(x):
        y, backward = forward(x)

        # TensorFlow and JAX pass the upstream gradient alone; torch passes the
        # inputs too, and the gradient by name.
        def gradient(*args, upstream=None):
            if upstream is None:
                return backward(args[0])
            import torch

            # The graph of dx, which is recorded where a second derivative may
            # follow: torch ran `forward` without one.
            again = torch.is_grad_enabled()
            return (forward(*args)[1] if again else backward)(upstream)

        return y, gradient

    return function(x)


def _column(x):
    return ops.expand_dims(x, -1)
