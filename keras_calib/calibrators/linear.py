"""Linear maps of the logits: one scale a class, or a full matrix."""

import warnings
from collections.abc import Callable
from typing import Unpack

import numpy as np
from keras import ops

from keras_calib.arguments import in_range, saveable
from keras_calib.calibrators.base import Calibrator, CalibratorArguments
from keras_calib.calibrators.objectives import log_softmax
from keras_calib.calibrators.samples import Samples
from keras_calib.calibrators.temperature import log_temperature
from keras_calib.ops.floats import matmul
from keras_calib.types import Array, Tensor

__all__ = ["DirichletCalibration", "MatrixScaling", "VectorScaling"]


class LinearCalibrator(Calibrator):
    """Base of the maps softmax(W x + b) of logits or log-probabilities x.

    The penalized likelihood is convex. L-BFGS minimizes it in float64, starting at
    the best temperature, until fifty steps gain less than 1e-9, or it warns.

    Args:
        bias_penalty: weight of the mean squared bias.

    Raises:
        ValueError: for a negative penalty.
    """

    # Whether W is a full matrix, or diagonal.
    full_matrix = True
    # Whether x is log_softmax(z), or z.
    log_probabilities = False
    off_diagonal_penalty = 0.0

    def __init__(
        self, bias_penalty: float = 0.01, **kwargs: Unpack[CalibratorArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.bias_penalty = in_range("bias_penalty", bias_penalty, 0.0, np.inf)

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of W, (K, K) or (K,), and of b."""
        scale = (num_classes,) * (2 if self.full_matrix else 1)
        return {"scale": scale, "bias": (num_classes,)}

    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Minimizes the penalized likelihood."""
        from scipy.optimize import minimize

        k, objective = samples.num_classes, self._objective(samples)
        start = np.eye(k) if self.full_matrix else np.ones(k)
        # In units of 1 / T, so that the size of the logits does not matter.
        beta = np.exp(-log_temperature(samples))
        unit = np.append(np.full(start.size, beta), np.ones(k))
        point = np.append(start, np.zeros(k))
        value = np.inf

        def scaled(point: Array) -> tuple[float, Array]:
            value, slope = objective(unit * point)
            return value, unit * slope

        # L-BFGS stops after a single step that gains little, even above the optimum:
        # restart it from there until fifty steps gain nothing.
        options = {"maxcor": 20, "ftol": 1e-12, "gtol": 1e-9, "maxiter": 1000}
        for _ in range(10):
            found = minimize(
                scaled, point, jac=True, method="L-BFGS-B", options=options
            )
            gain, value, point = value - found.fun, found.fun, found.x
            if gain < 1e-9:
                break
            options = {"maxcor": 50, "ftol": 1e-16, "gtol": 1e-11, "maxiter": 50}
        else:
            warnings.warn(
                f"{type(self).__name__} has not converged: it has "
                "too few samples for its parameters, or the penalties are too small",
                stacklevel=4,
            )
        scale, bias = np.split(unit * point, [-k])
        return {"scale": scale, "bias": bias}

    def _objective(self, samples: Samples) -> Callable[[Array], tuple[float, Array]]:
        """Returns the penalized likelihood and its gradient in W and b, flat."""
        k, targets, weight = samples.num_classes, samples.targets, samples.weight
        x = samples.logits.astype("float64")
        x = log_softmax(x) if self.log_probabilities else x
        # Rounded soft targets need not sum to 1.
        mass = targets.sum(-1, keepdims=True)
        off_diagonal = self.off_diagonal_penalty / (k * (k - 1))

        def objective(parameters: Array) -> tuple[float, Array]:
            scale, bias = np.split(parameters, [-k])
            scale = scale.reshape(self.weight_shapes(k)["scale"])
            log_p = log_softmax((x @ scale.T if self.full_matrix else x * scale) + bias)
            value = -weight @ np.einsum("nk,nk->n", targets, log_p)
            value += self.bias_penalty * np.mean(bias**2)
            slope = weight[:, None] * (mass * np.exp(log_p) - targets)
            bias_slope = slope.sum(0) + 2 * self.bias_penalty / k * bias
            if not self.full_matrix:
                return value, np.append(np.einsum("nk,nk->k", slope, x), bias_slope)
            others = scale - np.diag(np.diag(scale))
            value += off_diagonal * np.sum(others**2)
            scale_slope = slope.T @ x + 2 * off_diagonal * others
            return value, np.append(scale_slope, bias_slope)

        return objective

    def transform(self, z: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        """Returns softmax(W x + b)."""
        x = ops.log_softmax(z, axis=-1) if self.log_probabilities else z
        mapped = matmul(x, ops.transpose(scale)) if self.full_matrix else x * scale
        return ops.softmax(mapped + bias, axis=-1)


@saveable
class VectorScaling(LinearCalibrator):
    """One scale and one bias a class.

    Formula, for class k of K:

    ```
    p = softmax(s * z + b)
    minimizes mean(-log p_y) + bias_penalty * mean(b_k ** 2)
    ```

    Without a penalty the bias of a class that occurs in no label goes to minus
    infinity. The argmax may change.

    Example:

    >>> import keras_calib
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(5000, 3))
    >>> y = (logits + [1.0, 0, 0] + rng.gumbel(size=logits.shape)).argmax(-1)
    >>> calibrator = keras_calib.calibrators.VectorScaling(bias_penalty=0.0)
    >>> scale, bias = calibrator.fit(logits, y).get_weights()
    >>> bool(0.8 < bias[0] - bias[1] < 1.2)
    True

    Reference:

    - Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    """

    full_matrix = False


@saveable
class MatrixScaling(LinearCalibrator):
    """A full matrix and a bias, with the ODIR penalty.

    Formula, for K classes:

    ```
    p = softmax(W z + b)
    minimizes mean(-log p_y) + off_diagonal_penalty * mean_{i != j}(W_ij ** 2)
                             + bias_penalty * mean(b_k ** 2)
    ```

    K^2 + K parameters need many samples: with a few hundred of them the temperature
    does better, whatever the penalty. The diagonal is not penalized, and its entry
    for a class that occurs in no label grows without end. The argmax may change.

    Args:
        off_diagonal_penalty: weight of the mean squared off-diagonal entry.

    Example:

    >>> import keras_calib
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(2000, 3))
    >>> y = (2 * logits + rng.gumbel(size=logits.shape)).argmax(-1)
    >>> calibrator = keras_calib.calibrators.MatrixScaling().fit(logits, y)
    >>> scale, bias = calibrator.get_weights()
    >>> bool(np.abs(scale - 2 * np.eye(3)).max() < 0.5)
    True

    References:

    - Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    - Kull et al., "Beyond temperature scaling", NeurIPS 2019, section 3 (ODIR).
    """

    def __init__(
        self,
        off_diagonal_penalty: float = 1.0,
        bias_penalty: float = 1.0,
        **kwargs: Unpack[CalibratorArguments],
    ) -> None:
        super().__init__(bias_penalty, **kwargs)
        self.off_diagonal_penalty = in_range(
            "off_diagonal_penalty", off_diagonal_penalty, 0.0, np.inf
        )


@saveable
class DirichletCalibration(MatrixScaling):
    """A full matrix and a bias on log-probabilities, with the ODIR penalty.

    Formula, for K classes:

    ```
    p = softmax(W log_softmax(z) + b)
    minimizes mean(-log p_y) + off_diagonal_penalty * mean_{i != j}(W_ij ** 2)
                             + bias_penalty * mean(b_k ** 2)
    ```

    This is Bayes' rule for probabilities that follow one Dirichlet distribution in
    each class. Unlike `MatrixScaling` it ignores a shift of all logits. As there,
    K^2 + K parameters need many samples, the diagonal is not penalized, and the
    argmax may change.

    Example:

    >>> import keras_calib
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(2000, 3))
    >>> y = (2 * logits + rng.gumbel(size=logits.shape)).argmax(-1)
    >>> calibrator = keras_calib.calibrators.DirichletCalibration().fit(logits, y)
    >>> tuple(calibrator(logits[:1].astype("float32")).shape)
    (1, 3)

    Reference:

    - Kull et al., "Beyond temperature scaling: Obtaining well-calibrated
      multi-class probabilities with Dirichlet calibration", NeurIPS 2019.
    """

    log_probabilities = True
