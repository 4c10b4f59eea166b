"""What a fit minimizes and a report states, of samples and a map of their logits."""

from collections.abc import Callable

import numpy as np

from keras_calib.calibrators.samples import Samples
from keras_calib.metrics import BinStatistics
from keras_calib.types import Array

# Maps float64 logits of shape (n, K) to probabilities.
Probabilities = Callable[[Array], Array]


def softmax(z: Array) -> Array:
    """Returns the softmax over the last axis."""
    e = np.exp(z - z.max(-1, keepdims=True))
    p: Array = e / e.sum(-1, keepdims=True)
    return p


def log_softmax(z: Array) -> Array:
    """Returns log(softmax(z)) over the last axis."""
    z = z - z.max(-1, keepdims=True)
    log_p: Array = z - np.log(np.exp(z).sum(-1, keepdims=True))
    return log_p


def nll(samples: Samples, probabilities: Probabilities | None = None) -> float:
    """Returns the mean negative log-likelihood.

    Args:
        samples: logits and labels.
        probabilities: a map of the logits. The default is the softmax, which keeps
            the logarithms of probabilities that a float64 cannot hold.
    """

    def block(rows: slice) -> float:
        z = samples.logits[rows].astype("float64")
        if probabilities is None:
            log_p = log_softmax(z)
        else:  # 5e-324 is the smallest positive float64
            log_p = np.log(np.maximum(probabilities(z), 5e-324))
        if samples.soft:  # 0 log 0 = 0
            log_p = np.where(samples.labels[rows] > 0, log_p, 0.0)
        return -float(samples.weight[rows] @ samples.expected(log_p, rows))

    return sum(samples.map(block))


def brier(samples: Samples, probabilities: Probabilities) -> float:
    """Returns the mean of sum_k (p_k - t_k)^2 - t_k^2."""

    def block(rows: slice) -> float:
        p = probabilities(samples.logits[rows].astype("float64"))
        error = np.einsum("nk,nk->n", p, p) - 2 * samples.expected(p, rows)
        return float(samples.weight[rows] @ error)

    return sum(samples.map(block))


def ece(samples: Samples, probabilities: Probabilities) -> float:
    """Returns the top-label calibration error over 15 equal-width bins."""

    def block(rows: slice) -> BinStatistics:
        p = probabilities(samples.logits[rows].astype("float64"))
        top, labels = p.argmax(-1), samples.labels[rows]
        hit = labels[np.arange(len(p)), top] if samples.soft else top == labels
        return BinStatistics.from_predictions(
            p.max(-1), hit, sample_weight=samples.weight[rows]
        )

    first, *rest = samples.map(block)
    return sum(rest, first).ece()
