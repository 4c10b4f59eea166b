"""The loss that the best temperature leaves."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np
from keras import ops

from keras_calib.arguments import saveable
from keras_calib.metrics.base import CalibrationMetric, MetricArguments
from keras_calib.metrics.compensated import CompensatedSum
from keras_calib.ops.batch import Batch
from keras_calib.ops.binary_batch import OneLabelBatch, is_one_probability
from keras_calib.ops.calibration import ratio
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import weighted
from keras_calib.ops.floats import (
    at_least,
    at_most,
    divide_no_nan,
    dtype_name,
    namespace,
    tiny,
)
from keras_calib.ops.rows import row_max
from keras_calib.ops.sums import bin_sums
from keras_calib.types import Tensor

__all__ = ["RefinementLoss"]

# The inverse temperatures whose loss is summed, 2^-8, 2^-7.5, ... 2^8, the place of 1
# among them, and the distance of their logarithms.
INVERSE_T = 2.0 ** (np.arange(-16, 17) / 2)
_PLACE_OF_1 = 16
_STEP = math.log(2) / 2
# So many temperatures share an exponential: each further one squares it, and doubles
# its relative error.
_CHAIN = 4


@saveable
class RefinementLoss(CalibrationMetric):
    """Mean negative log-likelihood after the best temperature, in nats.

    Formula, for logits z, or the logarithms of probabilities:

    ```
    refinement = min_T mean(-log softmax(z / T)_y)
    ```

    It is the part of the negative log-likelihood that `TemperatureScaling` cannot
    remove. The rest is the calibration loss, which it can remove. A model that grows
    overconfident while its predictions still improve has a rising validation loss and
    a falling refinement loss: stop training by the refinement loss, with
    `EarlyStopping(monitor="val_refinement_loss")`, and calibrate afterwards.

    The loss and its slope are summed at 33 temperatures, from 2^-8 to 2^8, so that
    batches and replicas add up. A cubic spline in log T runs through them. Its minimum
    is within 1e-4 nats of the exact one if that lies between these temperatures, which
    allows for logits a hundred times too large or too small. Logits that are no better
    than chance get the loss at T = infinity.

    Call arguments:
        y_pred: logits or probabilities of shape `(..., K)`; or of label 1, of shape
            `(N,)` or `(..., 1)`.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.metrics.RefinementLoss(from_logits=True)
    >>> logits = np.array([[2.0, 0, 0], [3.0, 1, 0], [0, 2.5, 0], [4.0, 0, 1]])
    >>> loss.update_state([0, 1, 1, 0], 10 * logits)
    >>> round(float(loss.result()), 4)
    0.6397
    >>> round(loss.parts()["temperature"], 2)
    12.44

    Reference:

    - Berta, Holzmüller, Jordan, Bach, "Rethinking Early Stopping: Refine, Then
      Calibrate", 2025.
    """

    def __init__(self, **kwargs: Unpack[MetricArguments]) -> None:
        super().__init__(**kwargs)
        # The weight, and the loss at T = infinity.
        self._uniform = CompensatedSum(self, (2,))
        self._curve = CompensatedSum(self, (len(INVERSE_T), 2))

    def reader(self, y_pred: Tensor) -> type[Batch]:
        """Returns the class that reads a batch of these predictions."""
        return OneLabelBatch if is_one_probability(y_pred, self.axis) else ClassBatch

    def accumulate(self, batch: ClassBatch | OneLabelBatch) -> None:
        """Adds the weight, and the loss and its slope at each temperature."""
        uniform, curve = self.sums(batch)
        self._uniform.add(uniform, batch.sound)
        self._curve.add(curve, batch.sound)

    def sums(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Returns the weight and the loss at T = infinity, and the sums of the curve.

        The curve is of shape (M, 2), the losses and their slopes in log(1/T).
        """
        z, of_label, uniform_loss = _shifted_logits(batch)
        columns = weighted(batch.sample_weight, uniform_loss)
        uniform = [ops.cast(x, dtype_name(z)) for x in bin_sums(columns)]
        _, *sums = bin_sums(weighted(batch.sample_weight, *_curve(z, of_label)))
        curve = ops.stack([x[0] for x in sums], axis=-1)
        return ops.concatenate(uniform), curve

    def result(self) -> Tensor:
        """Returns the minimum, NaN without weight."""
        loss, _ = _minimum(self._uniform.double(), self._curve.double())
        return ops.cast(loss, self.state_dtype)

    def parts(self) -> dict[str, float]:
        """Returns the parts of the loss, and the best temperature, as floats.

        `"negative_log_likelihood"` is the sum of `"refinement_loss"` and
        `"calibration_loss"`.
        """
        uniform, curve = self._uniform.numpy(), self._curve.numpy()
        loss, place = map(float, _minimum(uniform, curve))
        nll = float(curve[_PLACE_OF_1, 0] / uniform[0])
        return {
            "negative_log_likelihood": nll,
            "refinement_loss": loss,
            "calibration_loss": nll - loss,
            "temperature": math.exp(_STEP * (_PLACE_OF_1 - place)),
        }


def _shifted_logits(
    batch: ClassBatch | OneLabelBatch,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns logits z - max z of shape (N, K), and two values of each sample.

    They are the mean logit of its labels, and its loss at T = infinity: the logarithm
    of the number of classes that are not masked.
    """
    z, y = ops.convert_to_tensor(batch.scores), ops.convert_to_tensor(batch.targets)
    if isinstance(batch, OneLabelBatch):
        negative = ops.zeros_like(z) if batch.from_logits else 1.0 - z
        z = ops.concatenate([negative, z], axis=-1)
        y = ops.concatenate([1.0 - y, y], axis=-1)
    if not batch.from_logits:
        z = ops.log(at_least(z, tiny(z)))
    z = z - row_max(z)
    of_label = ops.sum(ops.where(y > 0.0, y * z, 0.0), axis=-1)
    unmasked = ops.cast(z > -float("inf"), dtype_name(z))
    # The logit of a masked class is -inf, and 0 * -inf is NaN.
    return at_least(z, -1e30), of_label, ops.log(ops.sum(unmasked, axis=-1))


def _curve(z: Tensor, of_label: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the losses at the temperatures, and their slopes in log(1/T), (N, M)."""
    losses, slopes = {}, {}
    for first in range(len(INVERSE_T)):
        # exp(z / T) squared is that of the inverse temperature two places further.
        if first in losses:
            continue
        e = ops.exp(float(INVERSE_T[first]) * z)
        for place in range(first, min(first + 2 * _CHAIN, len(INVERSE_T)), 2):
            e = e if place == first else e * e
            total, inverse = ops.sum(e, axis=-1), float(INVERSE_T[place])
            losses[place] = ops.log(total) - inverse * of_label
            slopes[place] = inverse * (ops.sum(e * z, axis=-1) / total - of_label)
    return tuple(
        ops.stack([x[place] for place in sorted(x)], axis=-1) for x in (losses, slopes)
    )


def _minimum(uniform: Tensor, curve: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the minimum of a cubic spline, and its place in units of the knots.

    Args:
        uniform: the weight, and the sum of values at minus infinity.
        curve: sums of values and slopes at the knots, of shape (M, 2).
    """
    xp = namespace(curve)
    curve, at_infinity = ratio(curve, uniform[0]), ratio(uniform[1:], uniform[0])
    f, slope = curve[:, 0], _STEP * curve[:, 1]
    # f + s (a + s (b + s c)) for s in [0, 1] between two knots
    rise, a = f[1:] - f[:-1], slope[:-1]
    b = 3.0 * rise - 2.0 * a - slope[1:]
    c = a + slope[1:] - 2.0 * rise
    # The root of the derivative at which the second derivative is positive. Divided by
    # the largest of them, the squares of coefficients of 1e30 fit float32.
    largest = xp.max(xp.abs(xp.stack([a, b, c])), 0)
    a1, b1, c1 = (divide_no_nan(x, largest) for x in (a, b, c))
    root = divide_no_nan(-a1, b1 + xp.sqrt(at_least(b1 * b1 - 3.0 * a1 * c1, 0.0)))
    s = at_most(at_least(root, 0.0), 1.0)
    values = xp.concatenate([f[:-1] + s * (a + s * (b + s * c)), f, at_infinity])
    knots = xp.arange(len(INVERSE_T), dtype=dtype_name(f))
    infinity = xp.zeros_like(at_infinity) - float("inf")
    places = xp.concatenate([knots[:-1] + s, knots, infinity])
    least = xp.argmin(values)
    # Where all are NaN, any of them is.
    return at_least(values[least], 0.0), places[least]
