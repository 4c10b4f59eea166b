"""Softmax with a margin, and the hinge losses that it smooths.

With a margin a subtracted from the true logit, and d = z_y - LSE_{j != y} z_j:

    l(p) = softplus(a - d) = -log p + log(1 + (e^a - 1) (1 - p))
    W(p) = e^a / (1 + (e^a - 1) (1 - p))

Wang et al., "Additive Margin Softmax for Face Verification", IEEE SPL 2018, arXiv
1801.05599. Hinges: Weston, Watkins 1998 (sum), Crammer, Singer 2001 (max).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from keras import ops

from keras_calib.ops.floats import dtype_name
from keras_calib.ops.gradients import entry
from keras_calib.ops.rows import row_max, with_entry
from keras_calib.types import Tensor

__all__ = ["margin_value", "margin_weight", "multiclass_hinge"]

HingeForm: TypeAlias = Literal["sum", "max", "logsumexp", "softplus"]

# e^80 is finite in float32; margins in use are far smaller.
LARGEST_MARGIN = 80.0


def margin_value(log_p: Tensor, p: Tensor, q: Tensor, a: Tensor) -> Tensor:
    """Computes -log p + log1p((e^a - 1) q), both terms >= 0 for a in [0, 80]."""
    a = ops.convert_to_tensor(a, dtype=dtype_name(q))
    return ops.log1p(ops.expm1(a) * q) - log_p


def margin_weight(log_p: Tensor, p: Tensor, q: Tensor, a: Tensor) -> Tensor:
    """Computes e^a / (1 + (e^a - 1) q)."""
    a = ops.convert_to_tensor(a, dtype=dtype_name(q))
    return ops.exp(a) / (1.0 + ops.expm1(a) * q)


def multiclass_hinge(
    labels: Tensor, z: Tensor, form: HingeForm, margin: float
) -> Tensor:
    """Computes a hinge loss of each sample.

    Formula, where `sum` and `logsumexp` are upper bounds of `max`, and `softplus` of
    `logsumexp`:

    ```
    sum        sum_{j != y} max(0, z_j - z_y + m)
    max        max(0, max_{j != y} z_j - z_y + m)
    logsumexp  max(0, log sum_{j != y} exp z_j - z_y + m)
    softplus   log(1 + exp(log sum_{j != y} exp z_j - z_y + m))
    ```

    Args:
        labels: int32 labels y, of shape (N,).
        z: scores of shape (N, K).
        form: `"sum"`, `"max"`, `"logsumexp"` or `"softplus"`.
        margin: m.

    Returns:
        Losses of shape (N,).
    """
    z_y = ops.expand_dims(entry(z, labels), -1)
    # Not -inf: all other classes may be masked.
    never = ops.full_like(z[:, 0], float(np.finfo(dtype_name(z)).min))
    lead = with_entry(z - z_y, labels, never)
    if form == "sum":
        losses = ops.sum(ops.relu(lead + margin), axis=-1)
    elif form == "max":
        losses = ops.relu(row_max(lead)[:, 0] + margin)
    else:
        smooth = ops.logsumexp(lead, axis=-1) + margin
        losses = ops.relu(smooth) if form == "logsumexp" else ops.softplus(smooth)
    # Under XLA a maximum may drop NaN.
    return ops.where(ops.all(z < float("inf"), axis=-1), losses, float("nan"))
