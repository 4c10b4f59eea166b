"""Isotonic calibration."""

from typing import Unpack

import numpy as np
from keras import ops

from keras_calib.arguments import saveable, whole_number
from keras_calib.calibrators.base import CalibratorArguments
from keras_calib.calibrators.samples import Samples
from keras_calib.calibrators.steps import (
    Steps,
    bounded,
    count_below,
    log_odds_of,
    look_up,
)
from keras_calib.types import Array, Tensor

__all__ = ["IsotonicCalibration"]


@saveable
class IsotonicCalibration(Steps):
    """The increasing function of each class's probability that fits the labels best.

    Formula, over the increasing functions g, for the probability p_n of a class
    against the rest, its label y_n and the weight w_n of the sample:

    ```
    f = argmin_g sum_n w_n (g(p_n) - y_n) ** 2
    ```

    Between the ends of its steps f is interpolated. Its values are clipped to
    [1 / (N + 2), 1 - 1 / (N + 2)] for N samples: at 0 and 1 one wrong prediction
    would have an infinite loss. With more than two classes the results are divided
    by their sum, and the argmax may change. Give it a thousand samples or more.

    Args:
        num_knots: the number of step ends that the layer can store. By default the
            number that the first `fit` needs.

    Raises:
        ValueError: when a fit needs more than `num_knots` knots.

    Example:

    >>> import keras_calib
    >>> p = np.array([[0.1], [0.2], [0.6], [0.7], [0.8], [0.9]])
    >>> calibrator = keras_calib.calibrators.IsotonicCalibration(from_logits=False)
    >>> calibrator = calibrator.fit(p, [0, 1, 0, 1, 1, 1])
    >>> [round(float(c), 3) for c in calibrator(p)[:, 0]]
    [0.125, 0.5, 0.5, 0.875, 0.875, 0.875]

    Reference:

    - Zadrozny, Elkan, "Transforming classifier scores into accurate multiclass
      probability estimates", KDD 2002.
    """

    def __init__(
        self, num_knots: int | None = None, **kwargs: Unpack[CalibratorArguments]
    ) -> None:
        super().__init__(**kwargs)
        if num_knots is not None:
            num_knots = whole_number("num_knots", num_knots, low=2)
        self.num_knots = num_knots

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns the positions, as log-odds, and the values of the knots."""
        if self.num_knots is None:
            raise ValueError(
                f"{self.name!r} does not know its number of knots. Call "
                "fit(logits, labels) before the layer is put into a model, or pass "
                "num_knots"
            )
        shape = (self.num_maps(num_classes), self.num_knots)
        return {"knots": shape, "values": shape}

    def fit_class(self, d: Array, target: Array, weight: Array) -> tuple[Array, ...]:
        """Fits the steps."""
        from scipy.optimize import isotonic_regression

        # Log-odds that differ only by rounding are one position.
        _, first, group = np.unique(
            np.round(d, 6), return_index=True, return_inverse=True
        )
        mass = np.bincount(group, weight)
        mean = np.bincount(group, weight * target) / mass
        y = bounded(isotonic_regression(mean, weights=mass).x, weight)
        # The two ends of each step determine it.
        inner = np.r_[True, (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:]), True]
        ends = inner if len(y) > 1 else [True]
        return d[first][ends], y[ends]

    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Fits the classes, and repeats the last knot of those that need fewer."""
        found = self.fit_classes(samples)
        need = max(2, *(len(x) for x, _ in found))
        if self.num_knots is None:
            self.num_knots = need
        elif need > self.num_knots:
            raise ValueError(
                f"The fit needs {need} knots, and {self.name!r} has room for "
                f"{self.num_knots}. Make a new layer, or one with a larger num_knots"
            )
        padded = [
            [np.pad(v, (0, self.num_knots - len(v)), "edge") for v in pair]
            for pair in found
        ]
        knots, values = np.swapaxes(np.array(padded), 0, 1)
        return {"knots": knots, "values": values}

    def map(self, d: Tensor, knots: Tensor, values: Tensor) -> Tensor:
        """Interpolates between the knots."""
        # LiteRT takes a clip to [0, 6] for a ReLU6, which it lacks for integers.
        left = ops.clip(count_below(knots, d), 1, knots.shape[-1] - 1) - 1
        d0, d1 = look_up(knots, left), look_up(knots, left + 1)
        y0, y1 = look_up(values, left), look_up(values, left + 1)
        # With d the log-odds of p, (p - p0) / (p1 - p0) is
        # p / p1 * (1 - exp(d0 - d)) / (1 - exp(d0 - d1)).
        d = ops.where(d < d0, d0, ops.where(d > d1, d1, d))
        whole = _expm1(d0 - d1)
        share = _expm1(d0 - d) / ops.where(whole < 0, whole, -ops.ones_like(d))
        share = share * ops.exp(ops.log_sigmoid(d) - ops.log_sigmoid(d1))
        return log_odds_of(y0 + share * (y1 - y0))


def _expm1(x: Tensor) -> Tensor:
    """Returns exp(x) - 1 for x <= 0 without cancellation; ONNX has no expm1."""
    return ops.tanh(x / 2.0) * (ops.exp(x) + 1.0)
