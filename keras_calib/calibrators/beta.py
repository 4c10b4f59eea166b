"""Beta calibration."""

import numpy as np
from keras import ops

from keras_calib.arguments import saveable
from keras_calib.calibrators.logistic_regression import logistic_regression
from keras_calib.calibrators.one_vs_rest import OneVsRest
from keras_calib.types import Array, Tensor

__all__ = ["BetaCalibration"]


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
        free = [0, 1, 2]
        while True:
            found = np.zeros(3)
            found[free] = logistic_regression(x[:, free], target, weight)
            # The loss is convex: a slope that would be negative is 0 at the optimum.
            kept = [i for i in free if i == 2 or found[i] >= 0]
            if kept == free:
                return tuple(found)
            free = kept if len(free) - len(kept) == 1 else [int(found[:2].argmax()), 2]

    def map(self, d: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Returns a log p - b log(1 - p) + c."""
        return a * ops.log_sigmoid(d) - b * ops.log_sigmoid(-d) + c
