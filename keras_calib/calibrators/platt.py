"""Platt scaling."""

import numpy as np

from keras_calib.arguments import saveable
from keras_calib.calibrators.logistic_regression import (
    logistic_regression,
    platt_targets,
)
from keras_calib.calibrators.one_vs_rest import OneVsRest
from keras_calib.types import Array, Tensor

__all__ = ["PlattScaling"]


@saveable
class PlattScaling(OneVsRest):
    """A sigmoid of the log-odds of each class against the rest.

    Formula, for the log-odds d = log p - log(1 - p) of a class:

    ```
    p' = sigmoid(a d + b)
    ```

    The likelihood is maximized with Platt's targets (n1 + 1) / (n1 + 2) and
    1 / (n0 + 2) in place of 1 and 0, where n1 and n0 count the samples of the class
    and of the rest. These targets keep a and b finite. With more than two classes
    the results are divided by their sum, and the argmax may change.

    Example:

    >>> import keras_calib
    >>> calibrator = keras_calib.calibrators.PlattScaling()
    >>> _ = calibrator.fit([[-2.0], [-1.0], [1.0], [2.0]], [0, 1, 0, 1])
    >>> p = calibrator(np.array([[-2.0], [2.0]]))
    >>> [round(float(value), 3) for value in p[:, 0]]
    [0.4, 0.6]

    Reference:

    - Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
    """

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns a slope and an intercept for each class that is mapped."""
        return dict.fromkeys(("slope", "intercept"), (self.num_maps(num_classes),))

    def fit_class(self, d: Array, target: Array, weight: Array) -> tuple[Array, ...]:
        """Fits a and b."""
        x = np.stack([d, np.ones_like(d)], -1)
        return tuple(logistic_regression(x, platt_targets(target, weight), weight))

    def map(self, d: Tensor, slope: Tensor, intercept: Tensor) -> Tensor:
        """Returns a d + b."""
        return slope * d + intercept
