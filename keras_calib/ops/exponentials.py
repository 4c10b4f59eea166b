"""The exponentials of each row of logits, and their sum without the true class's."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_calib.ops.floats import at_least_float32, dtype_name, is_half
from keras_calib.ops.gradients import Backward, Gradients, with_gradient
from keras_calib.ops.platform import by_platform
from keras_calib.ops.rows import row_max, set_entry, with_entry
from keras_calib.types import Tensor


class Exponentials(NamedTuple):
    """c exp(z - m) of rows of logits z, whose maxima are m.

    Attributes:
        top: m, of shape (N,).
        scale: c, of shape (N,), or `None` for 1.
        each: the exponentials, of shape (N, K); the entry of the true class may be
            anything.
        rest: the sum of the others, of shape (N,).
    """

    top: Tensor
    scale: Tensor | None
    each: Tensor
    rest: Tensor


def exponentials(z: Tensor, y: Tensor, reads: int = 1) -> Exponentials:
    """Returns the exponentials of each row of logits, and the sum without entry y.

    Args:
        z: logits of shape (N, K).
        y: int32 labels of shape (N,).
        reads: how many times the logits must be read in any case, 1 or 2.
    """
    if keras.backend.backend() == "torch":
        return _by_softmax(z, y)
    # XLA reads the logits twice for a maximum and a sum, and once for a reduction of
    # pairs, which only JAX has. On a GPU, reading half precision costs less than that.
    once = keras.backend.backend() == "jax" and reads == 1
    tpu = _in_one_pass if once else in_two_passes
    gpu = in_two_passes if is_half(z) else tpu
    return Exponentials(*by_platform(in_two_passes, gpu, z, y, tpu=tpu))


def in_two_passes(z: Tensor, y: Tensor) -> Exponentials:
    """Returns exponentials that are stored, with 0 in place of the true class's."""
    z = at_least_float32(z)
    top = row_max(z)
    e = with_entry(ops.exp(z - top), y, ops.zeros_like(top[:, 0]))
    return Exponentials(top[:, 0], None, e, ops.sum(e, axis=-1))


def _by_softmax(z: Tensor, y: Tensor) -> Exponentials:
    # Eagerly, each tensor of the size of the logits that is written costs more than all
    # of the arithmetic, and torch's softmax writes one.
    import torch

    if torch.is_grad_enabled():
        return in_two_passes(z, y)
    top, place = z.max(-1, keepdim=True)
    p = torch.softmax(z, -1, dtype=torch.promote_types(z.dtype, torch.float32))
    scale = p.gather(1, place)[:, 0]
    p = set_entry(p, y, torch.zeros_like(scale))
    return Exponentials(at_least_float32(top)[:, 0], scale, p, p.sum(-1))


def _in_one_pass(z: Tensor, y: Tensor) -> Exponentials:
    sums = with_gradient(_largest_and_rest, y, z)
    top, rest = sums[:, 0], sums[:, 1]
    each = ops.exp(at_least_float32(z) - top[:, None])
    return Exponentials(top, None, each, rest)


def _largest_and_rest(y: Tensor, z: Tensor) -> tuple[Tensor, Backward]:
    """Returns m and sum_{j != y} exp(z_j - m), of shape (N, 2).

    A part of a row has its own maximum and sum; two parts are combined by scaling the
    sum of the one with the smaller maximum (Milakov, Gimelshein, "Online Normalizer
    Calculation for Softmax", arXiv 1805.02867).
    """
    import jax

    z = at_least_float32(z)
    counts = with_entry(ops.ones_like(z), y, ops.zeros_like(z[:, 0]))

    def both(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        (m, s), (n, t) = a, b
        # NaN makes the sum NaN; whether it makes a maximum depends on the compiler.
        lead = m - n
        e = ops.exp(-ops.abs(lead))
        first = lead >= 0.0
        return ops.where(first, m, n), ops.where(first, s + t * e, s * e + t)

    # Not -inf, whose difference from itself is NaN.
    low = np.asarray(np.finfo(dtype_name(z)).min, dtype_name(z))
    top, rest = jax.lax.reduce((z, counts), (low, np.zeros_like(low)), both, (1,))
    rest = ops.where(top < float("inf"), rest, float("nan"))

    def backward(upstream: Tensor) -> Gradients:
        # The results that use both do not depend on m.
        e = ops.exp(z - jax.lax.stop_gradient(top)[:, None])
        e = with_entry(e, y, ops.zeros_like(top))
        return None, upstream[:, 1:] * e

    return ops.stack([jax.lax.stop_gradient(top), rest], axis=-1), backward
