"""Computations on one chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import ops

from keras_calib.types import Tensor

Carry: TypeAlias = tuple[Tensor, ...]
Body: TypeAlias = Callable[[Carry, Sequence[Tensor]], tuple[Carry, Sequence[Tensor]]]


class Chunks(NamedTuple):
    """N rows as chunks of equal size; rows of zeros fill the last one.

    Chunk i holds the rows i, i + count, i + 2 count...: where the rows are spread over
    devices, so is each chunk.

    Attributes:
        rows: N.
        count: the number of chunks, at least 1.
        size: the number of rows of each.
    """

    rows: Any
    count: Any
    size: Any

    @classmethod
    def of(cls, x: Tensor, at_most: int) -> Chunks:
        """Returns as few chunks of the rows of x as the largest size allows."""
        rows = ops.shape(x)[0]
        count = -(-rows // at_most)
        count = max(count, 1) if isinstance(count, int) else ops.maximum(count, 1)
        return cls(rows, count, -(-rows // count))

    def split(self, x: Tensor) -> Tensor:
        """Returns x of shape (N, ...) as (count, size, ...)."""
        missing = self.count * self.size - self.rows
        if not isinstance(missing, int) or missing:
            x = ops.pad(x, [(0, missing)] + [(0, 0)] * (len(x.shape) - 1))
        x = ops.reshape(x, (self.size, self.count, *x.shape[1:]))
        return ops.moveaxis(x, 1, 0)

    def join(self, x: Tensor) -> Tensor:
        """Returns x of shape (count, size, ...) as (N, ...)."""
        x = ops.moveaxis(x, 0, 1)
        return ops.reshape(x, (self.count * self.size, *x.shape[2:]))[: self.rows]

    def scan(
        self, body: Body, carry: Carry, xs: Sequence[Tensor], dtypes: Sequence[str]
    ) -> tuple[Carry, list[Tensor]]:
        """Calls `body(carry, chunks) -> (carry, ys)` on each chunk in turn.

        Args:
            body: a function of the carry of the chunk before and of one chunk of `xs`.
            carry: the carry that the first chunk receives.
            xs: tensors of shape (N, ...).
            dtypes: the dtypes of the ys, tensors of shape (size, ...).

        Returns:
            The carry of the last chunk, and the ys of all chunks, of shape (N, ...).
        """
        scan = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
        chunks = tuple(map(self.split, xs))
        carry, ys = scan[keras.backend.backend()](body, carry, chunks, dtypes)
        return carry, [self.join(y) for y in ys]


def _jax(body: Body, carry: Carry, xs: Sequence[Tensor], dtypes: Any) -> Any:
    import jax

    return jax.lax.scan(body, carry, xs)


def _tensorflow(
    body: Body, carry: Carry, xs: Sequence[Tensor], dtypes: Sequence[str]
) -> Any:
    import tensorflow as tf

    count = ops.shape(xs[0])[0]
    arrays = [tf.TensorArray(dtype, count) for dtype in dtypes]

    def step(i: Tensor, carry: Carry, arrays: Any) -> Any:
        carry, ys = body(carry, [x[i] for x in xs])
        return i + 1, carry, [a.write(i, y) for a, y in zip(arrays, ys, strict=True)]

    def more(i: Tensor, *_: Any) -> Tensor:
        return i < count

    # Several chunks at a time would need the memory of all of them.
    start = (tf.constant(0), carry, arrays)
    _, carry, arrays = tf.while_loop(more, step, start, parallel_iterations=1)
    return carry, [array.stack() for array in arrays]


def _torch(body: Body, carry: Carry, xs: Sequence[Tensor], dtypes: Any) -> Any:
    import torch

    found = []
    for chunks in zip(*xs, strict=True):
        carry, ys = body(carry, chunks)
        found.append(ys)
    return carry, [torch.stack(y) for y in zip(*found, strict=True)]
