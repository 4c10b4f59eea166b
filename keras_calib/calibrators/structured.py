"""Structured scaling: linear maps that penalties hold near the best temperature."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, Unpack

import numpy as np
from keras import ops

from keras_calib.activations import softmax
from keras_calib.arguments import in_range, saveable, unless_none
from keras_calib.calibrators.base import Calibrator, CalibratorArguments
from keras_calib.calibrators.cross_validation import folds_of
from keras_calib.calibrators.samples import Samples
from keras_calib.calibrators.softmax_regression import SoftmaxRegression
from keras_calib.calibrators.temperature import log_temperature
from keras_calib.ops.floats import matmul
from keras_calib.types import Array, Tensor

__all__ = ["StructuredMatrixScaling", "StructuredVectorScaling"]

# The strengths that cross-validation tries, in falling order: each fit starts from the
# result of the one before, which is close.
_STRENGTHS = (1000.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
# How near the optimum a fit must end to be compared: the likelihoods differ by more.
_NEAR = 1e-5
# With fewer samples than this, the choice depends on the folds.
_FEW = 2000


class StructuredScaling(Calibrator):
    """Base of the maps softmax(W x + b) whose penalties pull W to I and b to 0.

    First the temperature T minimizes the negative log-likelihood, without a penalty.
    The features are the logarithms of its probabilities, mixed with a share
    u = 1 / (N + 1) of uniform ones for N samples, so that no feature is far below
    -log(K (N + 1)):

    ```
    x = log((1 - u) softmax(z / T) + u / K)
    ```

    N is the sum of the weights. The penalized negative log-likelihood is convex.
    Newton's method minimizes it in float64. It ends within 1e-8 of the optimum, or it
    warns. The argmax may change.

    Args:
        strength: the factor s of the penalties. By default five-fold cross-validation
            chooses one of 0.1, 0.3, 1, 3, 10, 30, 100 and 1000; with fewer than 2000
            samples it is repeated with five divisions into folds. The authors use 1.
            As it grows, the map approaches temperature scaling.

    Raises:
        ValueError: for a negative strength.
    """

    # Whether W is a full matrix, or diagonal.
    full_matrix = True

    def __init__(
        self, strength: float | None = None, **kwargs: Unpack[CalibratorArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.strength = unless_none(in_range, "strength", strength, 0.0, np.inf)

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of T, u, W, (K, K) or (K,), and b."""
        scale = (num_classes,) * (2 if self.full_matrix else 1)
        return {"temperature": (), "uniform": (), "scale": scale, "bias": scale[:1]}

    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Finds the temperature, then the strength, then W and b."""
        strength = self.strength
        if strength is None:
            strength = self._cross_validated(samples)
        features = Features.of(samples)
        found, converged = next(self._optima(samples, features, [strength]))
        if not converged:
            warnings.warn(
                f"{type(self).__name__} has not converged: its strength, {strength:g}, "
                "is too small for the samples",
                stacklevel=4,
            )
        return {
            "temperature": np.array(features.temperature),
            "uniform": np.array(features.uniform),
            "scale": found[:, :-1],
            "bias": found[:, -1],
        }

    def _cross_validated(self, samples: Samples) -> float:
        """Returns the strength with the largest likelihood on held-out folds."""
        total = np.zeros(len(_STRENGTHS))
        for seed in range(5 if len(samples) < _FEW else 1):
            for test in folds_of(samples, 5, seed):
                fit, rest = samples[~test], samples[test]
                features = Features.of(fit)
                other = self._regression(rest, features(rest.logits))
                optima = self._optima(fit, features, _STRENGTHS, _NEAR)
                losses = [other.loss(theta)[0] for theta, _ in optima]
                total += samples.weight[test].sum() * np.array(losses)
        return _STRENGTHS[int(total.argmin())]

    def _optima(
        self,
        samples: Samples,
        features: "Features",
        strengths: Sequence[float],
        tolerance: float = 1e-10,
    ) -> Iterator[tuple[Array, bool]]:
        """Yields (W, b) for each strength, and whether it is known to be best."""
        x = features(samples.logits)
        theta: Array = np.asarray(self._regression(samples, x).center)
        for strength in strengths:
            regression = self._regression(samples, x, strength)
            theta, converged = regression.minimize(theta, tolerance)
            yield theta, converged

    def _regression(
        self, samples: Samples, x: Array, strength: float = 0.0
    ) -> SoftmaxRegression:
        k, n = samples.num_classes, samples.total
        if self.full_matrix:
            penalty = np.full((k, k + 1), k * (k - 1) / n)
            np.fill_diagonal(penalty, k / n)
            penalty[:, -1] = k / n
            center = np.eye(k, k + 1)
        else:
            penalty = np.full((k, 2), k / n)
            center = np.array([[1.0, 0.0]] * k)
        return SoftmaxRegression(
            x,
            samples.targets,
            samples.weight,
            strength * penalty,
            self.full_matrix,
            center,
            by_class=False,
        )

    def transform(
        self,
        z: Tensor,
        temperature: Tensor,
        uniform: Tensor,
        scale: Tensor,
        bias: Tensor,
    ) -> Tensor:
        """Returns softmax(W x + b)."""
        p = ops.softmax(z / temperature, axis=-1)
        x = ops.log((1.0 - uniform) * p + uniform / z.shape[-1])
        mapped = matmul(x, ops.transpose(scale)) if self.full_matrix else x * scale
        return ops.softmax(mapped + bias, axis=-1)


@dataclass(frozen=True)
class Features:
    """Log-probabilities at a temperature T, mixed with a share u of uniform ones."""

    temperature: float
    uniform: float

    @classmethod
    def of(cls, samples: Samples) -> Self:
        """Finds the temperature."""
        temperature = np.exp(log_temperature(samples))
        return cls(float(temperature), 1.0 / (samples.total + 1.0))

    def __call__(self, logits: Array) -> Array:
        """Returns float64 features of logits."""
        p = softmax(logits.astype("float64") / self.temperature)
        features: Array = np.log((1 - self.uniform) * p + self.uniform / p.shape[-1])
        return features


@saveable
class StructuredVectorScaling(StructuredScaling):
    """One scale and one bias per class, near the best temperature.

    Formula, for K classes, N samples and features x:

    ```
    p = softmax(w * x + b)
    minimizes mean(-log p_y) + s K / N sum_k ((w_k - 1) ** 2 + b_k ** 2)
    ```

    Unlike `VectorScaling` it needs few samples: with few of them the penalties
    dominate, and the result is close to temperature scaling.

    Example:

    >>> import keras_calib
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(2000, 3))
    >>> y = (2 * logits + [1.0, 0, 0] + rng.gumbel(size=logits.shape)).argmax(-1)
    >>> calibrator = keras_calib.calibrators.StructuredVectorScaling()
    >>> temperature, _, scale, bias = calibrator.fit(logits, y).get_weights()
    >>> bool(0.7 < bias[0] - bias[1] < 1.2)
    True

    Reference:

    - Berta, Holzmüller, Jordan, Bach, "Structured matrix scaling for multi-class
      calibration", AISTATS 2026.
    """

    full_matrix = False


@saveable
class StructuredMatrixScaling(StructuredScaling):
    """A full matrix and a bias, near the best temperature.

    Formula, for K classes, N samples and features x:

    ```
    p = softmax(W x + b)
    minimizes mean(-log p_y) + s K / N sum_k ((W_kk - 1) ** 2 + b_k ** 2)
                             + s K (K - 1) / N sum_{i != j} W_ij ** 2
    ```

    Unlike `MatrixScaling` it needs few samples: with few of them the penalties
    dominate, and it is close to temperature scaling. One fit to 5000 samples takes a
    fraction of a second with 10 classes, and seconds with 100; cross-validation takes
    a second, and up to a minute.

    Example:

    >>> import keras_calib
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(2000, 3))
    >>> mixed = logits @ [[2, 1, 0], [0, 2, 0], [0, 0, 2]]
    >>> y = (mixed + rng.gumbel(size=logits.shape)).argmax(-1)
    >>> calibrator = keras_calib.calibrators.StructuredMatrixScaling()
    >>> temperature, _, scale, bias = calibrator.fit(logits, y).get_weights()
    >>> bool(scale[1, 0] > 0.1)
    True

    Reference:

    - Berta, Holzmüller, Jordan, Bach, "Structured matrix scaling for multi-class
      calibration", AISTATS 2026.
    """
