"""Turns probabilities of the true class into those of a noisy label, and back."""

from typing import Any, Unpack

import numpy as np
from keras import ops

from keras_calib.activations import softmax
from keras_calib.arguments import boolean, in_range, saveable, unless_none
from keras_calib.calibrators.base import Calibrator, CalibratorArguments
from keras_calib.calibrators.samples import Samples
from keras_calib.ops.floats import at_least
from keras_calib.types import Array, Tensor

__all__ = ["NoiseCorrection"]


@saveable
class NoiseCorrection(Calibrator):
    """Adds symmetric label noise to the probabilities, or removes it.

    Formula, with alpha = K gamma / (1 + (K - 1) gamma), the share of labels that are
    replaced by a draw from all K classes:

    ```
    forward:  q = (1 - alpha) p + alpha / K     true class p -> noisy label q
    inverse:  p = (q - alpha / K) / (1 - alpha) noisy label q -> true class p
    ```

    `GammaCE(gamma)` is the cross-entropy of q (forward correction), up to a factor
    and a constant, so its model gives p. Which of the two to report depends on the
    labels that count:

    - the true class behind noisy labels: p, as the model gives it;
    - labels as noisy as those of training, or clean training labels with gamma
      chosen for robustness only: q, the forward direction.

    A model trained on noisy labels by plain cross-entropy gives q, and the inverse
    turns it into p: negative results become 0, and each row is divided by its sum.

    The order of the classes is kept, with ties where the inverse gives 0.

    Args:
        gamma: the gamma, in [0, 1], which `fit` leaves as it is. With `None`, `fit`
            finds the most likely gamma of the forward direction.
        inverse: whether to remove the noise.

    Raises:
        ValueError: for a gamma outside [0, 1], and for an inverse without gamma or
            with gamma 1.

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

    keeps_argmax = True

    def __init__(
        self,
        gamma: float | None = None,
        inverse: bool = False,
        **kwargs: Unpack[CalibratorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.gamma = unless_none(in_range, "gamma", gamma, 0.0, 1.0)
        self.inverse = boolean("inverse", inverse)
        if self.inverse and self.gamma in (None, 1.0):
            raise ValueError(
                "The inverse needs a gamma in [0, 1). Received: "
                f"gamma={gamma!r}, inverse=True"
            )

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns one scalar."""
        return {"noise": ()}

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Makes the weight, and sets it to a given gamma."""
        if not self.built:
            super().build(input_shape)
            if self.gamma is not None:
                self._named_weights["noise"].assign(self.gamma)

    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Finds the most likely gamma, unless it is given."""
        if self.gamma is not None:
            return {"noise": np.array(self.gamma)}
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
        total = 1.0 + (z.shape[-1] - 1) * noise
        if not self.inverse:
            return (noise + (1.0 - noise) * p) / total
        p = at_least(p * total - noise, 0.0)
        return p / ops.sum(p, axis=-1, keepdims=True)
