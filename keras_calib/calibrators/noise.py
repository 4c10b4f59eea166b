"""Between the probability of the true class and that of a noisy label."""

from __future__ import annotations

from typing import Any, Unpack

import keras
from keras import ops

from keras_calib.arguments import in_range
from keras_calib.calibrators.base import Calibrator, CalibratorArguments
from keras_calib.calibrators.samples import Samples, softmax
from keras_calib.calibrators.temperature import find_root
from keras_calib.ops.floats import at_least


@keras.saving.register_keras_serializable(package="keras_calib")
class NoiseCorrection(Calibrator):
    """Mixes in, or takes out, symmetric label noise.

    Formula, with alpha = K gamma / (1 + (K - 1) gamma), the share of labels drawn
    anew from all K classes:

    ```
    forward:  q = (1 - alpha) p + alpha / K     true class p -> noisy label q
    inverse:  p = (q - alpha / K) / (1 - alpha) noisy label q -> true class p
    ```

    `GammaCE(gamma)` is the cross-entropy of q, up to a factor and a constant
    (forward correction), so its model gives p. What to report depends on the
    labels that count: for labels as noisy as those of training, or where training
    labels were clean and gamma only a robust choice, report q, forward; for the
    true class behind noisy labels, p as the model gives it. The inverse is for a
    model trained on noisy labels by plain cross-entropy, which gives q: negative
    results are 0, and each row is divided by its sum.

    The order of classes stays, with ties where the inverse gives 0.

    Args:
        gamma: the gamma, in [0, 1]. `None` lets `fit` find the most likely, which
            the inverse cannot; a gamma given is kept by `fit`.
        inverse: the direction.

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
        self.gamma = None if gamma is None else in_range("gamma", gamma, 0.0, 1.0)
        self.inverse = bool(inverse)
        if self.inverse and self.gamma in (None, 1.0):
            raise ValueError(
                "The inverse needs a gamma in [0, 1). Received: "
                f"gamma={gamma!r}, inverse=True"
            )

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns one scalar."""
        return {"noise": ()}

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Makes the weight, and sets it where gamma is given."""
        if not self.built:
            super().build(input_shape)
            if self.gamma is not None:
                self._parameters["noise"].assign(self.gamma)

    def adjust(self, samples: Samples) -> dict[str, Any]:
        """Finds the most likely gamma, unless it is given."""
        if self.gamma is not None:
            return {"noise": self.gamma}
        k = samples.num_classes

        def slope(alpha):
            """Returns dNLL / dalpha, which rises with alpha."""

            def block(rows):
                p = softmax(samples.logits[rows].astype("float64"))
                rise = (1.0 / k - p) / ((1.0 - alpha) * p + alpha / k)
                return -samples.weight[rows] @ samples.expected(rise, rows)

            return float(sum(samples.map(block)))

        low, high = 1e-9, 1.0 - 1e-9
        if slope(low) >= 0:
            alpha = 0.0
        elif slope(high) <= 0:
            alpha = 1.0
        else:
            alpha = find_root(slope, low, high, 1e-12)
        return {"noise": alpha / (k - (k - 1) * alpha)}

    def transform(self, z: Any, noise: Any) -> Any:
        """Returns q, or p in the inverse direction."""
        p = ops.softmax(z, axis=-1)
        total = 1.0 + (z.shape[-1] - 1) * noise
        if not self.inverse:
            return (noise + (1.0 - noise) * p) / total
        p = at_least(p * total - noise, 0.0)
        return p / ops.sum(p, axis=-1, keepdims=True)
