"""All that metrics need from rows of logits, by one reduction."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_calib.ops.exponentials import in_two_passes
from keras_calib.ops.floats import at_least, dtype_name
from keras_calib.ops.platform import by_platform, compiled_by_xla
from keras_calib.ops.rows import (
    first_of_largest,
    pick,
    row_max,
    row_squares,
    top as top_of,
)
from keras_calib.types import Tensor


class Summary(NamedTuple):
    """Statistics of rows of logits z with labels y, as tensors of shape (N,).

    Attributes:
        top: the largest logit, m.
        index: its class, int32, the first one if tied; arbitrary where a logit is NaN.
        true: z_y - m.
        rest: sum_{j != y} exp(z_j - m), NaN where a logit is NaN or +inf.
        squares: sum_{j != y} exp(2 (z_j - m)).
    """

    top: Tensor
    index: Tensor
    true: Tensor
    rest: Tensor
    squares: Tensor

    @property
    def total(self) -> Tensor:
        """sum_j exp(z_j - m)."""
        return self.rest + ops.exp(self.true)

    @property
    def log_total(self) -> Tensor:
        """Its logarithm, accurate even where p_y is nearly 1."""
        return ops.log1p(self.rest + (ops.exp(self.true) - 1.0))

    @property
    def log_p(self) -> Tensor:
        """log p_y."""
        return self.true - self.log_total

    @property
    def squared_error(self) -> Tensor:
        """(1 - p_y)^2 + sum_{j != y} p_j^2."""
        return (self.rest * self.rest + self.squares) / (self.total * self.total)


def summary(z: Tensor, y: Tensor) -> Summary:
    """Summarizes rows of logits; a compiler drops what is not used.

    Args:
        z: logits of shape (N, K), float32 or float64.
        y: int32 labels of shape (N,).
    """
    return _of(*by_platform(separate, reduced, z, y))


def summary_beside_loss(
    z: Tensor, y: Tensor, *, index: bool = True, squares: bool = True
) -> Summary:
    """Does the same next to a loss that needs the exponentials of the same logits.

    Args:
        z: logits of shape (N, K), float32 or float64.
        y: int32 labels of shape (N,).
        index: whether the index is used; it must then only be compared with y.
        squares: whether the squares are used.
    """
    if keras.backend.backend() == "jax":  # whose compiler drops the others
        return _of(*by_platform(shared, reduced, z, y))
    return _of(*shared(z, y, index, squares))


def _of(
    top: Tensor, index: Tensor, z_y: Tensor, rest: Tensor, squares: Tensor
) -> Summary:
    true = z_y - top
    # Not of +inf, nor of -inf alone, for which `reduced` finds no exponential at all.
    known = ops.logical_and(top < float("inf"), rest + ops.exp(true) > 0.0)
    return Summary(top, index, true, ops.where(known, rest, float("nan")), squares)


def separate(z: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """One reduction for each, which XLA fuses and vectorizes on a CPU."""
    top, index = first_of_largest(z)
    e = ops.exp(z - top[:, None])
    e = ops.where(y[:, None] == ops.arange(z.shape[-1], dtype="int32"), 0.0, e)
    return top, index, pick(z, y), ops.sum(e, axis=-1), ops.sum(e * e, axis=-1)


def shared(
    z: Tensor, y: Tensor, index: bool = True, squares: bool = True
) -> tuple[Any, ...]:
    """The same, from exponentials that a compiler merges with those of the loss."""
    top, _, e, rest = in_two_passes(z, y)
    z_y = pick(z, y)
    place = _index(z, y, z_y == top, e) if index else None
    return top, place, z_y, rest, row_squares(e) if squares else None


def _index(z: Tensor, y: Tensor, is_top: Tensor, e: Tensor) -> Tensor:
    """Returns the class of the largest logit, or any but y where it is not y."""
    if keras.backend.backend() != "tensorflow" or compiled_by_xla():
        return top_of(z)[1]
    import tensorflow as tf

    # Finding the first of tied logits costs a top-k, and is seldom needed.
    ties = tf.logical_and(is_top, row_max(e)[:, 0] >= 1.0)
    alone = tf.where(is_top, y, -1)
    return tf.cond(tf.reduce_any(ties), lambda: top_of(z)[1], lambda: alone)


def weighted(z: Tensor, y: Tensor) -> Tensor:
    """Returns sum_j (z_j - m) exp(z_j - m), m being the largest logit."""
    backend, top = keras.backend.backend(), row_max(z)
    if backend == "jax":
        return by_platform(_weighted_apart, _weighted, z, top)
    if backend == "torch" or compiled_by_xla():
        return _weighted(z, top)
    import tensorflow as tf

    # The exponentials of the loss, which have 0 in the place of y.
    shifted, e = z - top, in_two_passes(z, y).each
    true = at_least(pick(shifted, y), -1e3)
    others = tf.reduce_sum(tf.math.multiply_no_nan(shifted, e), axis=-1)
    return others + true * tf.exp(true)


def _weighted(z: Tensor, top: Tensor) -> Tensor:
    shifted = z - top
    # Far below the top, exp is 0. A finite logit keeps their product finite.
    if keras.backend.backend() == "torch":  # in place, and by a sum of products
        shifted = shifted.clamp_(min=-1e3)
        return ops.einsum("nk,nk->n", shifted, ops.exp(shifted))
    shifted = at_least(shifted, -1e3)
    return ops.sum(shifted * ops.exp(shifted), axis=-1)


def _weighted_apart(z: Tensor, top: Tensor) -> Tensor:
    import jax

    # XLA would write the difference for this sum and the loss, which takes longer than
    # computing it twice.
    apart: Any = jax.lax.optimization_barrier
    return _weighted(*apart((z, top)))


def reduced(z: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """One reduction for all, so that a GPU and a TPU read the logits once."""
    found: tuple[Tensor, ...] = _jax_reduction()(z, y)
    return found


@functools.cache
def _jax_reduction() -> Any:
    import jax

    def both(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # As in `exponentials`: the sums of the part with the smaller maximum shrink.
        (m, i, z, s, q), (n, j, x, t, r) = a, b
        lead = m - n
        e = ops.exp(-ops.abs(lead))
        first = lead >= 0.0
        index = ops.where(lead == 0.0, ops.minimum(i, j), ops.where(first, i, j))
        of_m, of_n = ops.where(first, 1.0, e), ops.where(first, e, 1.0)
        rest, squares = s * of_m + t * of_n, q * (of_m * of_m) + r * (of_n * of_n)
        return ops.where(first, m, n), index, z + x, rest, squares

    def reduction(z: Tensor, y: Tensor) -> Any:
        index = jax.lax.broadcasted_iota("int32", z.shape, 1)
        here = index == y[:, None]
        others, dtype = ops.cast(ops.logical_not(here), z.dtype), dtype_name(z)
        terms = z, index, ops.where(here, z, 0.0), others, others
        # Not -inf, whose difference from itself is NaN.
        low, last = np.finfo(dtype).min, np.iinfo("int32").max
        zero = np.zeros((), dtype)
        start = np.asarray(low, dtype), np.asarray(last, "int32"), zero, zero, zero
        return jax.lax.reduce(terms, start, both, (1,))

    differentiable: Any = jax.custom_jvp(reduction)
    differentiable.defjvp(
        lambda primals, tangents: jax.jvp(separate, primals, tangents)
    )
    return differentiable
