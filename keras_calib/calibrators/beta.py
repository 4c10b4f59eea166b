"""Beta calibration."""

import numpy as np
from keras import ops

from keras_calib.arguments import saveable
from keras_calib.calibrators.logistic_regression import (
    log_loss,
    logistic_regression,
)
from keras_calib.calibrators.one_vs_rest import OneVsRest
from keras_calib.types import Array, Tensor

__all__ = ["BetaCalibration"]

# A logarithm of p or 1 - p closer to 0 counts as 0: its coefficient could overflow
# float32.
_LEAST = 1e-30
# Which of a, b and c must be at least 0.
_BOUNDED = np.array([True, True, False])


@saveable
class BetaCalibration(OneVsRest):
    """Bayes' rule for a class whose probabilities follow Beta distributions.

    Formula, for the probability p of a class against the rest:

    ```
    p' = sigmoid(a log p - b log(1 - p) + c),    a, b >= 0
    ```

    Unlike Platt's sigmoid it contains the identity (a = b = 1, c = 0) and can bend p
    either way. With more than two classes the results are divided by their sum, and
    the argmax may change.

    Where a threshold of p separates the labels, the best a or b is infinite. The fit
    then ends at finite ones whose loss is within 1e-12 of the infimum, and the
    calibrated probabilities are near 0 and 1. They do not decrease with p.

    Example:

    >>> import keras_calib
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(size=(5000, 1))
    >>> y = rng.uniform(size=p.shape) < p**2 / (p**2 + (1 - p) ** 2)
    >>> calibrator = keras_calib.calibrators.BetaCalibration(from_logits=False)
    >>> a, b, c = calibrator.fit(p, y).get_weights()
    >>> bool(abs(a - 2) < 0.4 and abs(b - 2) < 0.4 and abs(c) < 0.4)
    True

    Reference:

    - Kull, Silva Filho, Flach, "Beta calibration", AISTATS 2017.
    """

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns a, b and c for each class that is mapped."""
        return dict.fromkeys("abc", (self.num_maps(num_classes),))

    def fit_class(self, d: Array, target: Array, weight: Array) -> tuple[Array, ...]:
        """Fits a, b and c."""
        x = np.stack([-np.logaddexp(0, -d), np.logaddexp(0, d), np.ones_like(d)], -1)
        x[np.abs(x) < _LEAST] = 0.0

        def fit(*free: int) -> Array:
            found = np.zeros(3)
            found[list(free)] = logistic_regression(x[:, free], target, weight)
            return found

        found = fit(0, 1, 2)
        if found.min(initial=0.0, where=_BOUNDED) < 0:
            # At the optimum a, b or both are 0. The loss is convex.
            fits = [fit(0, 2), fit(1, 2), fit(2)]
            allowed = [each for each in fits if each[_BOUNDED].min() >= 0]
            found = min(allowed, key=lambda each: log_loss(x @ each, target, weight))
        return tuple(found)

    def map(self, d: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Returns a log p - b log(1 - p) + c."""
        return a * ops.log_sigmoid(d) - b * ops.log_sigmoid(-d) + c
