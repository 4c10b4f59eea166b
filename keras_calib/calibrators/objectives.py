"""The figures of samples and a map of their logits, to minimize or to report."""

from collections.abc import Callable

import numpy as np

from keras_calib.activations import log_softmax, softmax
from keras_calib.calibrators.samples import Samples
from keras_calib.metrics import BinStatistics
from keras_calib.types import Array

# Maps logits of shape (n, K) to probabilities.
Probabilities = Callable[[Array], Array]


def figures(
    samples: Samples, probabilities: Probabilities | None = None
) -> dict[str, float]:
    """Returns the figures of a report: the negative log-likelihood and the ECE."""
    error = ece(samples, probabilities or softmax)
    return {"nll": nll(samples, probabilities), "ece": error}


def nll(samples: Samples, probabilities: Probabilities | None = None) -> float:
    """Returns the mean negative log-likelihood.

    Args:
        samples: logits and labels.
        probabilities: a map of the logits. The default is the softmax, which keeps
            the logarithms of probabilities that a float64 cannot hold.
    """

    def block(rows: slice) -> float:
        z = samples.logits[rows]
        if probabilities is None:
            log_p = log_softmax(z)
        else:  # As the metric: a float32 softmax gives nothing between it and 0.
            p = probabilities(z)
            log_p = np.log(np.maximum(p, np.finfo(p.dtype).tiny), dtype="float64")
        if samples.soft:  # 0 log 0 = 0
            log_p = np.where(samples.labels[rows] > 0, log_p, 0.0)
        return -float(samples.weight[rows] @ samples.expected(log_p, rows))

    return sum(samples.map(block))


def brier(samples: Samples, probabilities: Probabilities) -> float:
    """Returns the mean of sum_k (p_k - t_k)^2 - t_k^2."""

    def block(rows: slice) -> float:
        p = probabilities(samples.logits[rows])
        error = np.einsum("nk,nk->n", p, p) - 2 * samples.expected(p, rows)
        return float(samples.weight[rows] @ error)

    return sum(samples.map(block))


def top_label(samples: Samples, probabilities: Probabilities) -> BinStatistics:
    """Returns the statistics of the top label in 15 equal-width bins."""

    def block(rows: slice) -> BinStatistics:
        p = probabilities(samples.logits[rows])
        top, labels = p.argmax(-1), samples.labels[rows]
        hit = labels[np.arange(len(p)), top] if samples.soft else top == labels
        return BinStatistics.from_predictions(
            p.max(-1), hit, sample_weight=samples.weight[rows]
        )

    first, *rest = samples.map(block)
    return sum(rest, first)


def ece(samples: Samples, probabilities: Probabilities) -> float:
    """Returns the top-label calibration error."""
    return top_label(samples, probabilities).ece()
