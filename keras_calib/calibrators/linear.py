"""Linear maps of the logits: one scale per class, or a full matrix."""

import warnings
from typing import Unpack

import numpy as np
from keras import ops

from keras_calib.activations import log_softmax
from keras_calib.arguments import in_range, saveable
from keras_calib.calibrators.base import Calibrator, CalibratorArguments
from keras_calib.calibrators.samples import Samples
from keras_calib.calibrators.softmax_regression import SoftmaxRegression
from keras_calib.calibrators.temperature import log_temperature
from keras_calib.ops.floats import matmul
from keras_calib.types import Array, Tensor

__all__ = ["DirichletCalibration", "MatrixScaling", "VectorScaling"]


class LinearCalibrator(Calibrator):
    """Base of the maps softmax(W x + b) of logits or log-probabilities x.

    The penalized negative log-likelihood is convex. Newton's method minimizes it in
    float64, starting from the best temperature. It ends within 1e-8 of the optimum, or
    it warns.

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
        """Minimizes the penalized negative log-likelihood."""
        k, penalty = samples.num_classes, self._penalty(samples.num_classes)
        x = samples.logits.astype("float64")
        x = log_softmax(x) if self.log_probabilities else x
        beta = np.exp(-log_temperature(samples))
        start = np.zeros_like(penalty)
        start[:, :-1] = beta * (np.eye(k) if self.full_matrix else 1.0)
        found, converged = SoftmaxRegression(
            x, samples.targets, samples.weight, penalty, self.full_matrix
        ).minimize(start)
        if not converged:
            warnings.warn(
                f"{type(self).__name__} has not converged: it has "
                "too few samples for its parameters, or the penalties are too small",
                stacklevel=4,
            )
        return {"scale": found[:, :-1], "bias": found[:, -1]}

    def _penalty(self, num_classes: int) -> Array:
        """Returns the factors of the squares of W and b, its last column."""
        k = num_classes
        penalty = np.zeros((k, (k if self.full_matrix else 1) + 1))
        penalty[:, :-1] = self.off_diagonal_penalty / (k * (k - 1))
        np.fill_diagonal(penalty, 0.0)
        penalty[:, -1] = self.bias_penalty / k
        return penalty

    def transform(self, z: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        """Returns softmax(W x + b)."""
        x = ops.log_softmax(z, axis=-1) if self.log_probabilities else z
        mapped = matmul(x, ops.transpose(scale)) if self.full_matrix else x * scale
        return ops.softmax(mapped + bias, axis=-1)


@saveable
class VectorScaling(LinearCalibrator):
    """One scale and one bias per class.

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

    K^2 + K parameters need many samples: with only a few hundred, the temperature does
    better, whatever the penalty. The diagonal is not penalized, and its entry
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

    # `bias_penalty` is repeated to give it a position and another default.
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
