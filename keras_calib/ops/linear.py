"""A linear head and its loss, without the logits of all samples at once.

    z = h W,    loss l(z),    gradients dz = c dl/dz,  dh = dz W^T,  dW = h^T dz

The rows are processed chunk by chunk. Each chunk computes its logits, its losses and,
where the factor c of each loss is known, its part of the gradients at once. So no logit
is computed twice, and the memory is that of one chunk's logits. Where c is known only
later, as the gradient in each loss, the backward pass computes the logits again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import ops

from keras_calib.ops.chunks import Chunks
from keras_calib.ops.floats import at_least_float32, dtype_name
from keras_calib.ops.gradients import (
    Gradients,
    pullback,
    unless_zero,
    with_kept_gradient,
)
from keras_calib.types import Tensor

# Numbers of each row, every one a tensor of shape (N,), that have no gradient.
Seen: TypeAlias = tuple[Tensor, ...]


class LinearHead(NamedTuple):
    """Losses of the rows of `hidden @ kernel`, and other statistics of these rows.

    The calls take labels of shape (N,), `hidden` of shape (N, D), `kernel` of shape
    (D, K), and what else the losses depend on, such as a bias. Products are computed
    in the dtype of `hidden`, and their gradients added up in at least float32.

    Attributes:
        losses_of: function of labels, rows and the rest that gives losses, of shape
            (N,), and the statistics.
        num_seen: the number of statistics of each row.
        chunk_size: the largest number of rows whose products are computed at once.
        transpose: whether `kernel` has shape (K, D).
    """

    losses_of: Callable[..., tuple[Tensor, Seen]]
    num_seen: int
    chunk_size: int
    transpose: bool = False

    def losses(self, *arguments: Tensor) -> tuple[Tensor, Seen]:
        """Returns the losses, of shape (N,), and the statistics."""

        def forward(wanted: bool, *arguments: Tensor) -> tuple[Tensor, Seen, Any]:
            return *self._values(*arguments), ()

        def backward(upstream: Tensor, kept: Any, *arguments: Tensor) -> Gradients:
            return None, *self._gradients(upstream, *arguments)[2]

        return with_kept_gradient(forward, backward, *arguments)

    def total(self, factors: Tensor, *arguments: Tensor) -> tuple[Tensor, Seen]:
        """Returns sum_n c_n l_n, for factors c of shape (N,), and the statistics."""

        def all_of(c: Tensor, *arguments: Tensor) -> tuple[Tensor, Seen, Gradients]:
            scale = _scale(c, arguments[1])
            losses, seen, gradients = self._gradients(c / scale, *arguments)
            return losses, seen, (scale, losses / scale, None, *gradients)

        def forward(
            wanted: bool, c: Tensor, *arguments: Tensor
        ) -> tuple[Tensor, Seen, Any]:
            kept: Any = ()
            if wanted:
                losses, seen, kept = all_of(c, *arguments)
            else:
                losses, seen = self._values(*arguments)
            # Rows that do not count may have any loss, even NaN.
            return ops.sum(unless_zero(losses, c)), seen, kept

        def backward(upstream: Tensor, kept: Any, *arguments: Tensor) -> Gradients:
            scale, *gradients = kept or all_of(*arguments)[2]
            factor = upstream * scale
            return tuple(
                None if x is None else factor * at_least_float32(x) for x in gradients
            )

        return with_kept_gradient(forward, backward, factors, *arguments)

    def _values(
        self, y: Tensor, h: Tensor, w: Tensor, *rest: Tensor
    ) -> tuple[Tensor, Seen]:
        dtypes, w = self._dtypes(h), ops.cast(w, dtype_name(h))

        def body(carry: Any, chunk: Any) -> Any:
            y, h = chunk
            losses, seen = self.losses_of(y, self._rows(h, w), *rest)
            return (), (losses, *seen)

        _, (losses, *seen) = self._chunks(h).scan(body, (), [y, h], dtypes)
        return losses, tuple(seen)

    def _gradients(
        self, c: Tensor, y: Tensor, h: Tensor, w: Tensor, *rest: Tensor
    ) -> tuple[Tensor, Seen, Gradients]:
        """Returns the same, and the gradients of sum(c * losses) in h, w and rest."""
        half, sums = dtype_name(h), sum_dtype(h)
        w = ops.cast(w, half)

        def body(totals: Any, chunk: Any) -> Any:
            c, y, h = chunk
            losses_of = partial(self.losses_of, y)
            losses, seen, back = pullback(losses_of, self._rows(h, w), *rest)
            of_rows, *of_rest = back(c)
            of_rows = ops.cast(of_rows, half)
            of_h = product(of_rows, w, (1, 0 if self.transpose else 1))
            pair = (of_rows, h) if self.transpose else (h, of_rows)
            parts = product(*pair, (0, 0)), *of_rest
            totals = tuple(a + b for a, b in zip(totals, parts, strict=True))
            return totals, (ops.cast(of_h, half), losses, *seen)

        zeros = tuple(ops.zeros(ops.shape(x), sums) for x in (w, *rest))
        dtypes = [half, *self._dtypes(h)]
        totals, ys = self._chunks(h).scan(body, zeros, [c, y, h], dtypes)
        of_h, losses, *seen = ys
        return losses, tuple(seen), (of_h, *totals)

    def _dtypes(self, h: Tensor) -> list[str]:
        return [sum_dtype(h)] * (1 + self.num_seen)

    def _rows(self, h: Tensor, w: Tensor) -> Tensor:
        return product(h, w, (1, 1 if self.transpose else 0))

    def _chunks(self, h: Tensor) -> Chunks:
        return Chunks.of(h, self.chunk_size)


def product(x: Tensor, y: Tensor, axes: tuple[int, int]) -> Tensor:
    """Returns the sum of products of two matrices over an axis of each.

    It is float32 for half precision.
    """
    first, second = axes
    if keras.backend.backend() == "jax":
        import jax

        dims = ((first,), (second,)), ((), ())
        return jax.lax.dot_general(x, y, dims, preferred_element_type=sum_dtype(x))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return at_least_float32(tf.matmul(x, y, first == 0, second == 1))
    return at_least_float32((x if first else x.T) @ (y.T if second else y))


def sum_dtype(x: Tensor) -> str:
    """Returns the dtype in which products of x are added up."""
    return "float64" if dtype_name(x) == "float64" else "float32"


def _scale(c: Tensor, h: Tensor) -> Tensor | float:
    """Returns what the gradients are divided by while they pass through float16.

    In the mean over many samples they would be too small for it.
    """
    if dtype_name(h) != "float16":
        return 1.0
    most = ops.max(ops.abs(c), initial=0.0)
    return ops.where(most > 0.0, most, 1.0)
