"""Functions with custom gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_calib.ops.floats import dtype_name
from keras_calib.ops.platform import by_platform
from keras_calib.ops.rows import pick, with_entry
from keras_calib.types import Tensor

Gradients: TypeAlias = tuple[Tensor | None, ...]
Backward: TypeAlias = Callable[[Tensor], Gradients]


def with_gradient(
    forward: Callable[..., tuple[Tensor, Backward]], *arguments: Tensor
) -> Tensor:
    """Calls `forward(*arguments) -> (y, backward)`; `backward` gives the gradients.

    `backward(dy)` returns the gradient in each argument, which is cast to its dtype,
    and `None` for integers. If it consists of differentiable operations, the gradients
    are differentiable. Neither function may capture a tensor that JAX traces; pass it
    as an argument.
    """
    dtypes = [dtype_name(x) for x in arguments]

    @ops.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
    def function(*arguments: Tensor) -> tuple[Tensor, Callable[..., Gradients]]:
        y, backward = forward(*arguments)
        if keras.backend.backend() == "torch":
            # The graph holds `backward`. If that holds y, y must not hold the graph:
            # the memory of a reference cycle is freed late.
            y = y.detach()

        # TensorFlow and JAX pass the upstream gradient alone; torch passes the
        # inputs too, and the gradient by name.
        def gradient(*args: Any, upstream: Tensor | None = None) -> Gradients:
            back = backward
            if keras.backend.backend() == "jax":
                # It runs again, so that nothing is kept but the arguments: where both
                # are compiled together, XLA merges what they share.
                back = forward(*arguments)[1]
            elif upstream is not None:
                import torch

                # torch ran `forward` without a graph. It runs again where a second
                # derivative may follow.
                if torch.is_grad_enabled():
                    back = forward(*args)[1]
            gradients = back(args[0] if upstream is None else upstream)
            return tuple(
                None if x is None else ops.cast(x, dtype)
                for x, dtype in zip(gradients, dtypes, strict=True)
            )

        return y, gradient

    return function(*arguments)


def with_kept_gradient(
    forward: Callable[..., tuple[Tensor, tuple[Tensor, ...], Any]],
    backward: Callable[..., Gradients],
    *arguments: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Calls `forward`, which may compute the gradient with the value.

    Args:
        forward: `forward(wanted, *arguments) -> (y, seen, kept)`. `wanted` says whether
            a gradient may follow; TensorFlow and torch know it. `seen`, a tuple of
            tensors, has no gradient.
        backward: `backward(dy, kept, *arguments)` returns the gradient in each
            argument, and `None` for integers. `kept` is that of `forward`. It may be
            called even if no gradient was wanted.
        *arguments: tensors. As in `with_gradient`, neither function may capture one
            that JAX traces.

    Returns:
        `(y, seen)`.
    """
    dtypes = [dtype_name(x) for x in arguments]

    def gradients(
        upstream: Tensor, kept: Any, arguments: Sequence[Tensor]
    ) -> Gradients:
        return tuple(
            None if x is None else ops.cast(x, dtype)
            for x, dtype in zip(
                backward(upstream, kept, *arguments), dtypes, strict=True
            )
        )

    if keras.backend.backend() == "jax":
        import jax

        @jax.custom_vjp  # type: ignore[untyped-decorator, unused-ignore]
        def function(*arguments: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            return forward(False, *arguments)[:2]

        def value_and_rest(*arguments: Tensor) -> Any:
            *both, kept = forward(True, *arguments)
            return tuple(both), (kept, arguments)

        function.defvjp(value_and_rest, lambda rest, dy: gradients(dy[0], *rest))
        y, seen = function(*arguments)
        return y, seen
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        from tensorflow.python.eager.record import should_record_backprop

        arguments = tuple(map(tf.convert_to_tensor, arguments))
        wanted = should_record_backprop(arguments)

        @tf.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
        def function(*arguments: Tensor) -> Any:
            y, seen, kept = forward(wanted, *arguments)
            return [y, *seen], lambda dy, *_: gradients(dy, kept, arguments)

        y, *others = function(*arguments)
        return y, tuple(map(tf.stop_gradient, others))
    import torch

    wanted = torch.is_grad_enabled() and any(x.requires_grad for x in arguments)

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Tensor) -> tuple[Tensor, ...]:
            y, seen, ctx.kept = forward(wanted, *arguments)
            ctx.save_for_backward(*arguments)
            ctx.mark_non_differentiable(*seen)
            return y, *seen

        @staticmethod
        @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
        def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> Gradients:
            return gradients(upstream, ctx.kept, ctx.saved_tensors)

    y, *others = Function.apply(*arguments)  # type: ignore[no-untyped-call, unused-ignore]
    return y, tuple(others)


def pullback(
    function: Callable[..., tuple[Tensor, tuple[Tensor, ...]]], *arguments: Tensor
) -> tuple[Tensor, tuple[Tensor, ...], Callable[[Tensor], Gradients]]:
    """Returns y, seen = function(*arguments), and the gradients as a function of dy.

    The gradient is 0 in an argument that y does not depend on; `seen`, a tuple, has
    none.
    """
    if keras.backend.backend() == "jax":
        import jax

        y, back, seen = jax.vjp(function, *arguments, has_aux=True)
        return y, seen, back
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(arguments)
            y, seen = function(*arguments)
        zero = tf.UnconnectedGradients.ZERO
        return y, seen, lambda dy: tuple(tape.gradient(y, arguments, dy, zero))
    import torch

    with torch.enable_grad():
        arguments = tuple(x.detach().requires_grad_() for x in arguments)
        y, seen = function(*arguments)
    again = {"create_graph": torch.is_grad_enabled(), "materialize_grads": True}
    y, seen, of = y.detach(), tuple(x.detach() for x in seen), y
    return y, seen, lambda dy: torch.autograd.grad(of, arguments, dy, **again)


def entry(x: Tensor, index: Tensor) -> Tensor:
    """Returns x[n, index_n] of each row n, as `pick` does.

    The gradient of a gather is a scatter, which is slow on a GPU and a TPU.
    """
    return by_platform(pick, _entry, x, index)


def _entry(x: Tensor, index: Tensor) -> Tensor:
    def forward(x: Tensor, index: Tensor) -> tuple[Tensor, Backward]:
        def backward(upstream: Tensor) -> Gradients:
            return with_entry(ops.zeros_like(x), index, upstream), None

        return pick(x, index), backward

    return with_gradient(forward, x, index)


def unless_zero(x: Tensor, factor: Tensor, dtype: str | None = None) -> Tensor:
    """Returns x * factor, 0 where the factor is 0, even if x is infinite.

    Args:
        x: a tensor.
        factor: a tensor.
        dtype: the dtype of the result if there is no graph; by default that of x.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.math.multiply_no_nan(x, factor)
    if keras.backend.backend() == "torch":
        import torch

        if not torch.is_grad_enabled():
            shape = np.broadcast_shapes(x.shape, factor.shape)
            kind = getattr(torch, dtype or dtype_name(x))
            product = torch.empty(shape, dtype=kind, device=x.device)
            product, zero = torch.mul(x, factor, out=product), factor == 0.0
            # Filling a tensor costs as much as multiplying it, and few factors are 0.
            if torch.compiler.is_compiling() or zero.any():
                product.masked_fill_(zero, 0.0)
            return product
    return ops.where(factor == 0.0, 0.0, x * factor)


def of_parameters(
    value: Callable[..., Tensor],
    terms: Sequence[Tensor],
    parameters: Sequence[Tensor],
    upstream: Tensor,
) -> Gradients:
    """Returns the gradient of sum(upstream * value(*terms, *parameters)) in parameters.

    Args:
        value: the losses.
        terms: log p, p and q of one outcome, or of several in turn.
        parameters: scalars.
        upstream: the gradient in the losses.
    """
    if not parameters:
        return ()
    # Losses without a gradient may be NaN, and 0 * NaN is NaN: p = 1 replaces their p.
    known, sure = upstream != 0.0, itertools.cycle((0.0, 1.0, 0.0))
    losses = partial(value, *(ops.where(known, x, next(sure)) for x in terms))
    if keras.backend.backend() == "jax":
        import jax

        return tuple(jax.vjp(losses, *parameters)[1](upstream))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(parameters)
            total = losses(*parameters)
        zero = tf.UnconnectedGradients.ZERO
        return tuple(tape.gradient(total, parameters, upstream, zero))
    import torch

    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    again = {"create_graph": torch.is_grad_enabled(), "materialize_grads": True}
    gradients: Iterator[Tensor] = iter(())
    if wanted:
        with torch.enable_grad():
            total = losses(*parameters)
        gradients = iter(torch.autograd.grad(total, wanted, upstream, **again))
    return tuple(next(gradients) if x.requires_grad else None for x in parameters)
