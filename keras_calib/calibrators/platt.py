"""Platt scaling."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.calibrators.one_vs_rest import OneVsRest, logistic_regression


@keras.saving.register_keras_serializable(package="keras_calib")
class PlattScaling(OneVsRest):
    """A sigmoid of the log-odds of each class against the rest.

    Formula, for the log-odds d = log p - log(1 - p) of a class:

    ```
    p' = sigmoid(a d + b)
    ```

    Fitted by maximum likelihood to Platt's targets (n1 + 1) / (n1 + 2) and
    1 / (n0 + 2) in place of 1 and 0, n1 and n0 being the samples of the class and
    of the rest, which keeps a and b finite. More than two classes are divided by
    their sum, and the argmax may change.

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
        """Returns one slope and one intercept for each class mapped."""
        maps = (self.num_maps(num_classes),)
        return {"slope": maps, "intercept": maps}

    def fit_class(
        self, log_p: np.ndarray, log_q: np.ndarray, target: np.ndarray, weight: Any
    ) -> tuple[np.ndarray, ...]:
        """Fits a and b."""
        positive = weight @ target
        negative = weight.sum() - positive
        high, low = (positive + 1) / (positive + 2), 1 / (negative + 2)
        x = np.stack([log_p - log_q, np.ones_like(log_p)], -1)
        return tuple(logistic_regression(x, low + target * (high - low), weight))

    def map(self, log_p: Any, log_q: Any, slope: Any, intercept: Any) -> Any:
        """Returns sigmoid(a d + b)."""
        return ops.sigmoid(slope * (log_p - log_q) + intercept)
