"""The smooth calibration error, from sums at the nodes of a grid.

The sums are of shape (2, G) for G nodes i / (G - 1): the sum of the sample weights, and
the weighted sum of confidence - hit.
"""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from keras_calib.ops.calibration import unless_empty
from keras_calib.ops.events import Events, weighted
from keras_calib.ops.floats import (
    alike,
    at_most,
    cast,
    divide_no_nan,
    dtype_name,
    namespace,
    round_down,
)
from keras_calib.ops.sums import bin_sums
from keras_calib.types import Tensor

NUM_NODES = 1001

# As in relplot 1.0.3, so that the figures agree: bandwidths are multiples of 2^-10 and
# at least .001, the kernel ends at a distance of 1/2, and the integral is a mean over
# few points.
_HALVINGS = 10
_EPSILON = 0.001
_POINTS = 200
_DENSITY_FLOOR = 1e-4


def node_sums(events: Events, num_nodes: int = NUM_NODES) -> Tensor:
    """Splits each event between the two nodes nearest to its confidence."""
    x = events.confidence
    dtype = dtype_name(x)
    position = x * (num_nodes - 1)
    # Clipped as integers, so that NaN falls to a node and makes its sums NaN.
    with np.errstate(invalid="ignore"):
        node = namespace(x).clip(cast(position, "int32"), 0, num_nodes - 2)
    fraction = position - cast(node, dtype)
    weight, residual = weighted(events.sample_weight, x - cast(events.hit, dtype))
    columns = [namespace(x).ones_like(x) if weight is None else weight, residual]
    shares = [part * c for part in (1.0 - fraction, fraction) for c in columns]
    sums = [cast(s, dtype) for s in bin_sums(shares, node, num_nodes)]
    left, right = ops.stack(sums[:2]), ops.stack(sums[2:])
    # No share falls to the right of the last node.
    return left + ops.pad(right[:, :-1], ((0, 0), (1, 0)))


def smooth_ece(nodes: Tensor) -> Tensor:
    """Returns the smooth calibration error from sums at nodes.

    It is smECE(sigma) = integral |E[(confidence - hit) K_sigma(t, confidence)]| dt
    at the sigma that equals it, where K is a Gaussian that is reflected at 0 and 1. A
    Fourier transform makes the convolution a product. Its length is a power of two:
    for another, such as 2000, a TPU's compiler takes a minute.
    """
    xp, dtype, num_nodes = namespace(nodes), dtype_name(nodes), nodes.shape[-1]
    reach = (num_nodes - 1) // 2
    length = 2 ** math.ceil(math.log2(num_nodes + 2 * reach))
    # An end of the interval is its own mirror image.
    ends = np.ones(num_nodes, dtype)
    ends[[0, -1]] = 2.0
    nodes = nodes * alike(ends, nodes)
    above_1 = xp.flip(nodes[:, -reach - 1 : -1], axis=-1)
    gap = xp.zeros((2, length - num_nodes - 2 * reach), dtype=dtype)
    below_0 = xp.flip(nodes[:, 1 : reach + 1], axis=-1)
    wave = xp.concatenate([nodes, above_1, gap, below_0], axis=-1)
    real, imaginary = _rfft(wave)
    steps = np.minimum(np.arange(length), length - np.arange(length))
    within = alike((steps <= reach).astype(dtype), nodes)
    distance = alike((steps / (num_nodes - 1)).astype(dtype), nodes)
    index = xp.arange(num_nodes, dtype=dtype)

    def smoothed_error(sigma: Tensor) -> Tensor:
        kernel = within * xp.exp(-0.5 * xp.square(distance / sigma))
        kernel = kernel / (math.sqrt(2 * math.pi) * sigma)
        damping = _rfft(kernel)[0]  # real, as the kernel is even
        smooth = _irfft(damping * real, damping * imaginary)[:, :num_nodes]
        density, residual = smooth[0], smooth[1]
        # The mean over `points` points from 0 to 1, interpolated.
        points = xp.clip(xp.round(10.0 / sigma), _POINTS, num_nodes)
        used = cast(index < points, dtype)
        x = at_most(index / (points - 1.0), 1.0) * (num_nodes - 1)
        left = at_most(round_down(x), num_nodes - 2)
        fraction = x - left
        left = cast(left, "int32")

        def total(y: Tensor) -> Tensor:
            y = (1.0 - fraction) * xp.take(y, left) + fraction * xp.take(y, left + 1)
            return xp.sum(used * xp.abs(y))

        return divide_no_nan(total(residual), total(density + _DENSITY_FLOOR))

    # The smallest sigma, in steps of 2^-10, that is not below its error.
    low, step = xp.zeros((), dtype=dtype), 1.0
    for _ in range(_HALVINGS):
        step /= 2
        middle = low + step
        below = xp.logical_or(middle < _EPSILON, middle < smoothed_error(middle))
        low = xp.where(below, middle, low)
    return unless_empty(smoothed_error(low + step), nodes[0])


def _rfft(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the real and the imaginary part of the Fourier transform."""
    if namespace(x) is np:
        wave = np.fft.rfft(x)
        return wave.real, wave.imag
    real, imaginary = ops.rfft(x)
    return real, imaginary


def _irfft(real: Tensor, imaginary: Tensor) -> Tensor:
    """Returns the tensor whose Fourier transform has these parts."""
    if namespace(real) is np:
        return np.fft.irfft(real + 1j * imaginary)
    return ops.irfft((real, imaginary))
