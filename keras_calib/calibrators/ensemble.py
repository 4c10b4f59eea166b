"""Ensemble temperature scaling."""

import numpy as np
from keras import ops

from keras_calib.activations import softmax
from keras_calib.arguments import saveable
from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.samples import Samples
from keras_calib.calibrators.temperature import log_temperature
from keras_calib.types import Array, Tensor

__all__ = ["EnsembleTemperatureScaling"]


@saveable
class EnsembleTemperatureScaling(Calibrator):
    """A mixture of the tempered, the given and the uniform probabilities.

    Formula, for K classes:

    ```
    p = m_0 softmax(z / T) + m_1 softmax(z) + m_2 / K,    m_i >= 0, sum m_i = 1
    ```

    First T minimizes mean(-log p_y) without the mixture; then m minimizes it, which is
    a convex problem. The uniform part bounds the loss of a confident error by
    -log(m_2 / K). The argmax does not change, except where rounding makes ties.

    Example:

    >>> import keras_calib
    >>> rng = np.random.default_rng(0)
    >>> logits = 5 * rng.normal(size=(5000, 3))
    >>> y = np.where(rng.uniform(size=5000) < 0.3, 0, logits.argmax(-1))
    >>> calibrator = keras_calib.calibrators.EnsembleTemperatureScaling()
    >>> temperature, mixture = calibrator.fit(logits, y).get_weights()
    >>> bool(mixture[2] > 0.1)
    True

    Reference:

    - Zhang, Kailkhura, Han, "Mix-n-Match: Ensemble and compositional methods for
      uncertainty calibration in deep learning", ICML 2020.
    """

    keeps_argmax = True

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns T and m."""
        return {"temperature": (), "mixture": (3,)}

    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Finds T, then m."""
        temperature = np.exp(log_temperature(samples))
        targets = samples.weight[:, None] * samples.targets

        def block(rows: slice) -> tuple[Array, Array]:
            z, share = samples.logits[rows].astype("float64"), targets[rows]
            p = np.stack([softmax(z / temperature), softmax(z)], -1)
            p = np.pad(p, [(0, 0), (0, 0), (0, 1)], constant_values=1 / z.shape[-1])
            return p[share > 0], share[share > 0]

        p, share = map(np.concatenate, zip(*samples.map(block), strict=True))
        return {"temperature": temperature, "mixture": likeliest_mixture(p, share)}

    def transform(self, z: Tensor, temperature: Tensor, mixture: Tensor) -> Tensor:
        """Returns the mixture."""
        tempered, given = ops.softmax(z / temperature, -1), ops.softmax(z, -1)
        uniform = mixture[2] / z.shape[-1]
        return mixture[0] * tempered + mixture[1] * given + uniform


def likeliest_mixture(p: Array, share: Array) -> Array:
    """Returns the shares m of components that minimize -sum_n share_n log(p_n m).

    Newton's steps, with m >= 0 and sum m = 1: Wang, "On fast computation of the
    non-parametric maximum likelihood estimate of a mixing distribution", JRSS B 2007.

    Args:
        p: the probability that each component gives to an event, of shape (N, C).
        share: weights of the events, of shape (N,).
    """
    from scipy.optimize import nnls

    share, count = share / share.sum(), p.shape[-1]
    m = np.full(count, 1 / count)
    for _ in range(100):
        q = p @ m
        # The loss exceeds the optimum by at most the largest slope minus 1.
        if ((share / q) @ p).max() <= 1 + 1e-12:
            break
        # For an m whose sum is 1, the quadratic model is |A m|^2.
        a = np.sqrt(share)[:, None] * (p / q[:, None] - 2)
        a = np.vstack([np.linalg.qr(a, "r"), np.ones(count)])
        new, _ = nnls(a, np.arange(len(a)) == len(a) - 1.0)
        step = new / new.sum() - m
        size, value = 1.0, share @ np.log(q)
        with np.errstate(divide="ignore"):
            while share @ np.log(p @ (m + size * step)) < value and size > 1e-12:
                size /= 2
        m = np.maximum(m + size * step, 0)
    shares: Array = m / m.sum()
    return shares
