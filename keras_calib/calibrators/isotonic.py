"""Isotonic calibration."""

from __future__ import annotations

from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_calib.arguments import whole_number
from keras_calib.calibrators.base import CalibratorArguments
from keras_calib.calibrators.one_vs_rest import (
    OneVsRest,
    bounded,
    count_below,
    look_up,
)
from keras_calib.calibrators.samples import Samples


@keras.saving.register_keras_serializable(package="keras_calib")
class IsotonicCalibration(OneVsRest):
    """The rising function of each class's probability that fits the labels best.

    Formula, for the probability p_n of a class against the rest and its label y_n:

    ```
    minimises sum_n w_n (f(p_n) - y_n) ** 2 over rising f
    ```

    Between the ends of its steps f is interpolated. N samples show no rate below
    1 / (N + 2): f is kept that far away from 0 and 1, where one miss would cost an
    infinite likelihood. More than two classes are divided by their sum, and the
    argmax may change. It wants a thousand samples or more.

    Args:
        num_knots: room for the ends of steps; by default what the first `fit` needs.

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
        """Returns the places and the values of the knots."""
        if self.num_knots is None:
            raise ValueError(
                f"{self.name!r} must be fitted before it is put into a model, or know "
                "num_knots"
            )
        shape = (self.num_maps(num_classes), self.num_knots)
        return {"knots": shape, "values": shape}

    def fit_class(
        self, log_p: np.ndarray, log_q: np.ndarray, target: np.ndarray, weight: Any
    ) -> tuple[np.ndarray, ...]:
        """Fits the steps."""
        from scipy.optimize import isotonic_regression

        x, group = np.unique(np.exp(log_p), return_inverse=True)
        mass = np.bincount(group, weight)
        mean = np.bincount(group, weight * target) / mass
        y = bounded(isotonic_regression(mean, weights=mass).x, weight)
        # The ends of each step say it all.
        inner = np.r_[True, (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:]), True]
        ends = inner if len(y) > 1 else [True]
        return x[ends], y[ends]

    def adjust(self, samples: Samples) -> dict[str, Any]:
        """Fits the classes and gives all as many knots, the last one repeated."""
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

    def map(self, log_p: Any, log_q: Any, knots: Any, values: Any) -> Any:
        """Returns the values at the knots, interpolated."""
        p = ops.exp(log_p)
        left = ops.clip(count_below(knots, p) - 1, 0, knots.shape[-1] - 2)
        x0, x1 = look_up(knots, left), look_up(knots, left + 1)
        y0, y1 = look_up(values, left), look_up(values, left + 1)
        width = x1 - x0
        share = (p - x0) / ops.where(width > 0, width, 1.0)
        return y0 + ops.clip(ops.where(width > 0, share, 0.0), 0.0, 1.0) * (y1 - y0)
