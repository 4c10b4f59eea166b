"""The loss of a linear head that never makes all of its logits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Any

import keras
from keras import ops

from keras_calib._keras import get_keras_mask, reduce_weighted_values
from keras_calib.arguments import in_range, unless_none, whole_number
from keras_calib.losses.alpha_balanced import AlphaBalancedCE
from keras_calib.losses.base import ClassLoss
from keras_calib.ops.floats import as_floats, as_tensor, dtype_name
from keras_calib.ops.gradients import pullback
from keras_calib.ops.labels import integer_labels, is_valid, static_shape
from keras_calib.ops.linear import LinearHead, Seen, sum_dtype
from keras_calib.ops.reader import reading_of
from keras_calib.ops.token_statistics import TokenStatistics, figures, names_of
from keras_calib.types import Tensor

__all__ = ["linear_loss"]

# With fewer rows at a time, products of matrices become slow.
_FEWEST_ROWS = 256


def linear_loss(
    loss: keras.losses.Loss,
    y_true: Tensor,
    hidden: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    *,
    sample_weight: Tensor | None = None,
    transpose: bool = False,
    logit_soft_cap: float | None = None,
    z_loss: float = 0.0,
    chunk_size: int | None = None,
    return_statistics: bool | Collection[str] = False,
) -> Tensor | tuple[Tensor, TokenStatistics]:
    """Computes `loss(y_true, hidden @ kernel + bias)` without all of the logits.

    Only the logits of `chunk_size` samples exist at a time. With a vocabulary of K
    tokens, the memory of all N * K logits and of their gradient is what limits the
    training step of a language model.

    If the loss is a mean or a sum, the gradients of a chunk are computed together with
    its losses, so no logit is computed twice: it takes as many matrix products as a
    head followed by a loss. With `reduction=None` the gradient computes the logits
    again.

    Products are computed in the dtype of `hidden`; `kernel` is cast to it. Those of
    half precision are summed in float32, and a float32 kernel gets a float32 gradient.
    Second derivatives are not supported.

    Args:
        loss: a loss of one label of K classes with `from_logits=True`, such as
            `GammaCE`, or Keras's `SparseCategoricalCrossentropy`. Its reduction,
            `ignore_class`, dtype and hyperparameters apply.
        y_true: integer labels of shape `(...)` or `(..., 1)`.
        hidden: inputs of the head, of shape `(..., D)`. A Keras mask is applied.
        kernel: weights of the head, of shape `(D, K)`.
        bias: bias of the head, of shape `(K,)`.
        sample_weight: weights of shape `(...)`.
        transpose: whether `kernel` has shape `(K, D)`, as that of an embedding which
            the head shares.
        logit_soft_cap: c in logits c tanh(z / c), as in Gemma 2; `None` for z.
        z_loss: factor of (log sum exp z)^2 in each sample's loss, as in PaLM.
        chunk_size: the largest number of samples in a chunk. By default it is D, and
            at least 256: then a chunk's logits take no more memory than a float32
            gradient of the kernel, which the step needs in any case.
        return_statistics: whether to return `ops.TokenStatistics` too, which metrics
            take in place of `y_pred`, or the names of those that they read, such as
            `metric.reads`. Others are `None`, except `log_probability`.

    Returns:
        The loss as `loss` reduces it, in its dtype: a scalar, or one loss for each
        sample with `reduction=None`. With `return_statistics`, a pair of the loss and
        the statistics of the samples.

    Raises:
        ValueError: for shapes that do not fit, for a loss that takes no logits, and for
            one in which the loss of a sample depends on other samples.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.GammaCE(0.1, from_logits=True)
    >>> hidden, kernel = np.eye(2), np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    >>> value = keras_calib.losses.linear_loss(loss, [2, 0], hidden, kernel)
    >>> round(float(value), 6) == round(float(loss([2, 0], hidden @ kernel)), 6)
    True

    References:

    - Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models",
      [arXiv:2411.09009](https://arxiv.org/abs/2411.09009): cross-entropy alone.
    - Hsu et al., "Liger Kernel: Efficient Triton Kernels for LLM Training",
      [arXiv:2410.10989](https://arxiv.org/abs/2410.10989): its gradients in the
      forward pass, chunk by chunk.
    """
    loss = loss_of_logits(loss)
    chunk_size = unless_none(whole_number, "chunk_size", chunk_size)
    cap = unless_none(in_range, "logit_soft_cap", logit_soft_cap, 1e-6, float("inf"))
    z_loss = in_range("z_loss", z_loss, 0.0, float("inf"))
    mask = of_hidden = get_keras_mask(hidden)
    y_true, _, sample_weight = loss.prepare(y_true, hidden, sample_weight)
    names = names_of(return_statistics)
    hidden, kernel = as_floats(hidden), as_floats(kernel)
    bias = None if bias is None else as_floats(bias)
    num_classes = _require_head(hidden, kernel, bias, transpose)
    logits = keras.KerasTensor((*hidden.shape[:-1], num_classes))
    labels = integer_labels(as_tensor(y_true), logits)
    if loss.ignore_class is not None:
        valid = is_valid(labels, loss.ignore_class)
        mask = valid if mask is None else ops.logical_and(mask, valid)
    rest = [] if bias is None else [bias]
    held = list(loss.hyperparameters.values())

    def losses_of(y: Tensor, z: Tensor, *rest: Tensor) -> tuple[Tensor, Seen]:
        dtype = dtype_name(z)
        if bias is not None:
            z, rest = z + ops.cast(rest[0], dtype), rest[1:]
        if cap is not None:
            z = cap * ops.tanh(z / cap)
        with ExitStack() as stack:
            for hyperparameter, value in zip(held, rest, strict=True):
                stack.enter_context(hyperparameter.holding(value))
            losses = loss.call(y, ops.cast(z, loss.dtype))
        losses = ops.cast(losses, dtype)
        if z_loss:
            losses = losses + z_loss * ops.square(ops.logsumexp(z, axis=-1))
        return losses, tuple(figures(y, z, names))

    def reduced(losses: Tensor) -> Tensor:
        return reduce_weighted_values(
            losses, sample_weight, mask, loss.reduction, loss.dtype
        )

    d = hidden.shape[-1]
    chunk_size = chunk_size or max(d, _FEWEST_ROWS)
    head = LinearHead(losses_of, len(names), chunk_size, transpose)
    rows = ops.reshape(labels, (-1,)), ops.reshape(hidden, (-1, d)), kernel
    rest += [hyperparameter.given() for hyperparameter in held]
    samples = ops.shape(hidden)[:-1]
    with keras.name_scope(loss.name):
        if loss.reduction in (None, "none"):
            losses, seen = head.losses(*rows, *rest)
            losses = ops.reshape(losses, samples)
            if mask is not None:
                losses = ops.where(mask, losses, 0.0)
            value = reduced(losses)
        else:
            factors = ops.cast(
                _factors(reduced, samples, loss.dtype), sum_dtype(hidden)
            )
            value, seen = head.total(factors, *rows, *rest)
    value = loss.moving(ops.cast(value, loss.dtype))
    if not names:
        return value
    each = {name: ops.reshape(x, samples) for name, x in zip(names, seen, strict=True)}
    return value, TokenStatistics(**each, num_classes=num_classes, mask=of_hidden)


def _factors(
    reduced: Callable[[Tensor], Tensor], samples: Sequence[Any], dtype: str
) -> Tensor:
    """Returns by how much each loss counts: a reduction is linear."""
    value, _, back = pullback(lambda x: (reduced(x), ()), ops.zeros(samples, dtype))
    (factors,) = back(ops.ones_like(value))
    return ops.reshape(factors, (-1,))


def loss_of_logits(loss: keras.losses.Loss) -> ClassLoss:
    """Returns a loss of ours, in place of Keras's cross-entropy, or refuses."""
    given = f"Received: {loss!r}"
    if type(loss) is keras.losses.SparseCategoricalCrossentropy:
        loss = AlphaBalancedCE(
            reduction=loss.reduction,
            name=loss.name,
            dtype=loss.dtype,
            **reading_of(loss),
        )
    if not isinstance(loss, ClassLoss):
        raise ValueError(
            "`loss` must be a loss of one label of K classes from integer labels, such "
            "as GammaCE(0.1, from_logits=True) or Keras's "
            f"SparseCategoricalCrossentropy(from_logits=True). {given}"
        )
    if not loss.of_one_sample:
        raise ValueError(
            "`loss` must give each sample a loss that depends on no other sample, "
            f"because the samples come in chunks. {given}"
        )
    if not loss.from_logits or loss.axis != -1:
        raise ValueError(
            "A linear head gives logits with the classes on the last axis: use a loss "
            f"with from_logits=True and axis=-1. {given}, "
            f"from_logits={loss.from_logits}, axis={loss.axis}"
        )
    return loss


def _require_head(
    hidden: Tensor, kernel: Tensor, bias: Tensor | None, transpose: bool
) -> int:
    """Returns the number of classes of a head whose shapes fit."""
    static_shape("hidden", hidden, ", shape (..., D)")
    shapes = {"hidden": tuple(hidden.shape), "kernel": tuple(kernel.shape)}
    if bias is not None:
        shapes["bias"] = tuple(bias.shape)
    shape = shapes["kernel"][:: -1 if transpose else 1]
    if (
        len(shapes["hidden"]) < 2
        or len(shape) != 2
        or shape[0] != shapes["hidden"][-1]
        or shapes.get("bias", shape[1:]) != shape[1:]
    ):
        found = ", ".join(f"{name}.shape={shape}" for name, shape in shapes.items())
        raise ValueError(
            "A head needs `hidden` of shape (..., D), `kernel` of shape (D, K), or "
            "(K, D) with transpose=True, and `bias` of shape (K,). "
            f"Received: {found}, transpose={transpose}"
        )
    return int(shape[1])
