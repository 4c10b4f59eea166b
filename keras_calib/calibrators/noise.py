"""Turns probabilities of the true class into those of a noisy label, and back."""

from typing import Any, Unpack

import numpy as np
from keras import ops

from keras_calib.activations import softmax
from keras_calib.arguments import boolean, in_range, saveable, unless_none
from keras_calib.calibrators.base import Calibrator, CalibratorArguments
from keras_calib.calibrators.samples import Samples
from keras_calib.ops.floats import at_least, matmul
from keras_calib.ops.transition import transition_matrix
from keras_calib.types import Array, Tensor

__all__ = ["NoiseCorrection"]


@saveable
class NoiseCorrection(Calibrator):
    """Adds label noise to the probabilities, or removes it.

    Formula, for the probability p of the true class and q of the noisy label, with
    alpha = K gamma / (1 + (K - 1) gamma), the share of labels that are replaced by a
    draw from all K classes:

    ```
    forward:  q = (1 - alpha) p + alpha / K
    inverse:  p = (q - alpha / K) / (1 - alpha)
    ```

    Noise that depends on the class has a matrix in place of alpha:
    q_j = sum_i p_i transition[i][j].

    `GammaCE(gamma)` is the cross-entropy of q (forward correction), up to a factor
    and a constant, and `ForwardCorrectedCE(transition)` is the same with a matrix, so
    models trained with them give p. Whether to report p or q depends on the labels
    that count:

    - the true class behind noisy labels: p, as the model gives it;
    - labels as noisy as those of training, or clean training labels with gamma
      chosen for robustness only: q, the forward direction.

    A model trained on noisy labels by plain cross-entropy gives q, and the inverse
    turns it into p: negative results become 0, and each row is divided by its sum.

    Without a matrix the order of the classes is kept, with ties where the inverse
    gives 0.

    Args:
        gamma: the gamma, in [0, 1], which `fit` leaves as it is. With `None`, `fit`
            finds the most likely gamma of the forward direction.
        inverse: whether to remove the noise.
        transition: a matrix of shape (K, K) in place of a gamma, whose row i holds the
            probabilities of the labels that samples of class i get. `fit` leaves it
            as it is.

    Raises:
        ValueError: for a gamma outside [0, 1], for a matrix that is not a transition
            matrix, for both a gamma and a matrix, and for an inverse with neither, with
            gamma 1, or with a singular matrix.

    Example:

    >>> import keras_calib
    >>> forward = keras_calib.calibrators.NoiseCorrection(0.1, from_logits=False)
    >>> q = forward(np.array([[0.8, 0.1, 0.1]]))
    >>> [round(float(value), 4) for value in q[0]]
    [0.6833, 0.1583, 0.1583]

    Reference:

    - Patrini et al., "Making Deep Neural Networks Robust to Label Noise", CVPR
      2017, section 4 (forward correction).
    """

    def __init__(
        self,
        gamma: float | None = None,
        inverse: bool = False,
        transition: Any = None,
        **kwargs: Unpack[CalibratorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.gamma = unless_none(in_range, "gamma", gamma, 0.0, 1.0)
        self.inverse = boolean("inverse", inverse)
        self._given = None if self.gamma is None else np.array(self.gamma)
        self.transition = transition
        self.keeps_argmax = transition is None
        if transition is not None:
            if self.gamma is not None:
                raise ValueError(
                    "Give a gamma or a transition. Received: "
                    f"gamma={gamma!r}, transition={transition!r}"
                )
            given = transition_matrix(transition)
            self.transition = given.tolist()
            if self.inverse and np.linalg.cond(given) > 1e6:
                raise ValueError(
                    "The inverse needs a transition that is not singular. Received: "
                    f"transition={transition!r}"
                )
            self._given = np.linalg.inv(given) if self.inverse else given
        elif self.inverse and self.gamma in (None, 1.0):
            raise ValueError(
                "The inverse needs a gamma in [0, 1), or a transition. Received: "
                f"gamma={gamma!r}, inverse=True"
            )

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns one scalar, or a matrix."""
        if self.transition is None:
            return {"noise": ()}
        if num_classes != len(self.transition):
            raise ValueError(
                f"`transition` is for {len(self.transition)} classes. Received: "
                f"{num_classes} classes"
            )
        return {"noise": (num_classes, num_classes)}

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Makes the weight, and sets it if a gamma or a matrix is given."""
        if not self.built:
            super().build(input_shape)
            if self._given is not None:
                self._named_weights["noise"].assign(self._given)

    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Finds the most likely gamma, unless it or a matrix is given."""
        if self._given is not None:
            return {"noise": self._given}
        from scipy.optimize import brentq

        k = samples.num_classes

        def slope(alpha: float) -> float:
            """Returns dNLL / dalpha, which increases with alpha."""

            def block(rows: slice) -> float:
                p = softmax(samples.logits[rows])
                rise = (1.0 / k - p) / ((1.0 - alpha) * p + alpha / k)
                return -float(samples.weight[rows] @ samples.expected(rise, rows))

            return sum(samples.map(block))

        low, high = 1e-9, 1.0 - 1e-9
        if slope(low) >= 0:
            alpha = 0.0
        elif slope(high) <= 0:
            alpha = 1.0
        else:
            alpha = brentq(slope, low, high, xtol=1e-12)
        return {"noise": np.array(alpha / (k - (k - 1) * alpha))}

    def transform(self, z: Tensor, noise: Tensor) -> Tensor:
        """Returns q, or p in the inverse direction."""
        p = ops.softmax(z, axis=-1)
        if self.transition is not None:
            if not self.inverse:
                return matmul(p, noise)
            p = matmul(p, noise)
        else:
            total = 1.0 + (z.shape[-1] - 1) * noise
            if not self.inverse:
                return (noise + (1.0 - noise) * p) / total
            p = p * total - noise
        p = at_least(p, 0.0)
        return p / ops.sum(p, axis=-1, keepdims=True)
