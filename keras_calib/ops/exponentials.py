"""The exponentials of each row of logits, and their sum without the true class's."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_calib.ops.floats import at_least_float32, dtype_name
from keras_calib.ops.gradients import Backward, Gradients, with_gradient
from keras_calib.ops.platform import by_platform
from keras_calib.ops.rows import row_max, set_entry, with_entry
from keras_calib.types import Tensor

__all__ = ["exponentials"]


def exponentials(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the maximum m of each row, exp(z - m), and the sum of the others' of it.

    Args:
        z: logits of shape (N, K).
        y: int32 labels of shape (N,).

    Returns:
        m of shape (N,), exp(z_j - m) of shape (N, K), of which the entry of the true
        class y may be anything, and sum_{j != y} exp(z_j - m) of shape (N,).
    """
    if keras.backend.backend() == "torch":
        return _in_place(z, y)
    found: tuple[Tensor, Tensor, Tensor]
    found = by_platform(_in_two_passes, _in_one_pass, z, y)
    return found


def _in_place(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # Eagerly, each tensor of the size of the logits that is written costs as much as
    # all of the arithmetic.
    import torch

    if torch.is_grad_enabled():
        return _in_two_passes(z, y)
    top = at_least_float32(row_max(z))
    e = set_entry((z - top).exp_(), y, torch.zeros_like(top[:, 0]))
    return top[:, 0], e, e.sum(-1)


def _in_two_passes(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    z = at_least_float32(z)
    top = row_max(z)
    e = with_entry(ops.exp(z - top), y, ops.zeros_like(top[:, 0]))
    return top[:, 0], e, ops.sum(e, axis=-1)


def _in_one_pass(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # XLA reads the logits twice for a maximum and a sum, and once for a reduction of
    # pairs. Only JAX has one of those.
    if keras.backend.backend() != "jax":
        return _in_two_passes(z, y)
    sums = with_gradient(_largest_and_rest, y, z)
    top, rest = sums[:, 0], sums[:, 1]
    return top, ops.exp(at_least_float32(z) - top[:, None]), rest


def _largest_and_rest(y: Tensor, z: Tensor) -> tuple[Tensor, Backward]:
    """Returns m and sum_{j != y} exp(z_j - m), of shape (N, 2).

    A part of a row has its own maximum and sum; two parts are put together by scaling
    the sum of the one with the smaller maximum (Milakov, Gimelshein, "Online Normalizer
    Calculation for Softmax", arXiv 1805.02867).
    """
    import jax

    z = at_least_float32(z)
    # Whether a maximum keeps NaN depends on the compiler; a sum does.
    counts = ops.where(z < float("inf"), 1.0, float("nan"))
    counts = with_entry(ops.cast(counts, z.dtype), y, ops.zeros_like(z[:, 0]))

    def both(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        (m, s), (n, t) = a, b
        top = ops.maximum(m, n)
        e = ops.exp(ops.minimum(m, n) - top)
        return top, ops.where(m >= n, s + t * e, s * e + t)

    # Not -inf, whose difference from itself is NaN.
    low = np.asarray(np.finfo(dtype_name(z)).min, dtype_name(z))
    top, rest = jax.lax.reduce((z, counts), (low, np.zeros_like(low)), both, (1,))

    def backward(upstream: Tensor) -> Gradients:
        # What is computed from both does not depend on m.
        e = ops.exp(z - jax.lax.stop_gradient(top)[:, None])
        e = with_entry(e, y, ops.zeros_like(top))
        return None, upstream[:, 1:] * e

    return ops.stack([jax.lax.stop_gradient(top), rest], axis=-1), backward
