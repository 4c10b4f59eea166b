"""Quadratic scaling."""

import numpy as np

from keras_calib.arguments import saveable
from keras_calib.calibrators.logistic_regression import (
    logistic_regression,
    platt_targets,
)
from keras_calib.calibrators.one_vs_rest import OneVsRest
from keras_calib.types import Array, Tensor

__all__ = ["QuadraticScaling"]


@saveable
class QuadraticScaling(OneVsRest):
    """A sigmoid of a quadratic in the log-odds of each class against the rest.

    Formula, for the log-odds d = log p - log(1 - p) of a class:

    ```
    p' = sigmoid(c d^2 + a d + b)
    ```

    It is meant for two classes. As in `PlattScaling`, which is the case c = 0, Platt's
    targets keep the coefficients finite. The map decreases somewhere unless c = 0, so
    the argmax may change; and log-odds far from those of the fit may get any
    probability. With more than two classes the results are divided by their sum.

    Example:

    >>> import keras_calib
    >>> rng = np.random.default_rng(0)
    >>> d = rng.normal(size=(5000, 1))
    >>> y = rng.uniform(size=5000) < 1 / (1 + np.exp(-(0.5 * d * d + d))[:, 0])
    >>> calibrator = keras_calib.calibrators.QuadraticScaling().fit(d, y)
    >>> curvature, slope, intercept = calibrator.get_weights()
    >>> bool(0.4 < curvature[0] < 0.6)
    True

    Reference:

    - Berta, Holzmüller, Jordan, Bach, "Structured matrix scaling for multi-class
      calibration", AISTATS 2026.
    """

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns c, a and b for each class that is mapped."""
        names = ("curvature", "slope", "intercept")
        return dict.fromkeys(names, (self.num_maps(num_classes),))

    def fit_class(self, d: Array, target: Array, weight: Array) -> tuple[Array, ...]:
        """Fits c, a and b."""
        x = np.stack([d * d, d, np.ones_like(d)], -1)
        return tuple(logistic_regression(x, platt_targets(target, weight), weight))

    def map(
        self, d: Tensor, curvature: Tensor, slope: Tensor, intercept: Tensor
    ) -> Tensor:
        """Returns c d^2 + a d + b."""
        # Horner's form does not overflow where d^2 does.
        return (curvature * d + slope) * d + intercept
