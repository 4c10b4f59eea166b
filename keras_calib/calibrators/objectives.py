"""Figures of a map of logits on some samples, to minimize or to report."""

import math
from collections.abc import Callable

import numpy as np

from keras_calib.activations import log_softmax, softmax
from keras_calib.calibrators.samples import Samples
from keras_calib.metrics import BinStatistics
from keras_calib.types import Array

# Maps logits of shape (n, K) to probabilities.
Probabilities = Callable[[Array], Array]


# The losses of the samples in some rows.
Losses = Callable[[Samples, slice, Probabilities | None], Array]


def figures(
    samples: Samples, probabilities: Probabilities | None = None
) -> tuple[dict[str, float], BinStatistics]:
    """Returns the figures of a report, and the bins of the top label.

    The figures are `"nll"`, `"brier"` and `"ece"`, and the ends of their 95 %
    intervals, `"nll_low"`, `"nll_high"` and so on.
    """
    found: dict[str, float] = {}
    for name, losses in {"nll": log_losses, "brier": squared_errors}.items():
        mean, square = _moments(samples, losses, probabilities)
        half = 1.96 * math.sqrt(max(square - mean * mean, 0.0) / samples.total)
        found |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
    bins = top_label(samples, probabilities or softmax)
    low, high = bins.ece_interval()
    return found | {"ece": bins.ece(), "ece_low": low, "ece_high": high}, bins


def _moments(
    samples: Samples, losses: Losses, probabilities: Probabilities | None
) -> tuple[float, float]:
    """Returns the means of losses and of their squares."""

    def block(rows: slice) -> Array:
        loss, weight = losses(samples, rows, probabilities), samples.weight[rows]
        return np.array([weight @ loss, weight @ loss**2])

    mean, square = np.sum(samples.map(block), axis=0)
    return float(mean), float(square)


def nll(samples: Samples, probabilities: Probabilities | None = None) -> float:
    """Returns the mean negative log-likelihood."""
    return _moments(samples, log_losses, probabilities)[0]


def brier(samples: Samples, probabilities: Probabilities | None = None) -> float:
    """Returns the mean of sum_k (p_k - t_k)^2."""
    return _moments(samples, squared_errors, probabilities)[0]


def log_losses(
    samples: Samples, rows: slice, probabilities: Probabilities | None
) -> Array:
    """Returns negative log-likelihoods.

    Args:
        samples: logits and labels.
        rows: the samples to use.
        probabilities: a map of the logits. The default is the softmax, which keeps
            the logarithms of probabilities that a float64 cannot hold.
    """
    z = samples.logits[rows]
    if probabilities is None:
        log_p = log_softmax(z)
    else:  # Like the metric: a float32 softmax gives nothing between `tiny` and 0.
        p = probabilities(z)
        log_p = np.log(np.maximum(p, np.finfo(p.dtype).tiny), dtype="float64")
    if samples.soft:  # 0 log 0 = 0
        log_p = np.where(samples.labels[rows] > 0, log_p, 0.0)
    return -samples.expected(log_p, rows)


def squared_errors(
    samples: Samples, rows: slice, probabilities: Probabilities | None
) -> Array:
    """Returns the squared distances between probabilities and labels."""
    p = (probabilities or softmax)(samples.logits[rows])
    square = np.einsum("nk,nk->n", p, p, dtype="float64")
    of_label = 1.0
    if samples.soft:
        of_label = np.einsum("nk,nk->n", samples.labels[rows], samples.labels[rows])
    error: Array = square - 2 * samples.expected(p, rows) + of_label
    return error


def top_label(samples: Samples, probabilities: Probabilities) -> BinStatistics:
    """Returns the statistics of the top label in 15 equal-width bins."""

    def block(rows: slice) -> BinStatistics:
        p = probabilities(samples.logits[rows])
        top, labels = p.argmax(-1), samples.labels[rows]
        hit = labels[np.arange(len(p)), top] if samples.soft else top == labels
        return BinStatistics.from_predictions(
            p.max(-1), hit, sample_weight=samples.weight[rows] * samples.total
        )

    first, *rest = samples.map(block)
    return sum(rest, first)


def ece(samples: Samples, probabilities: Probabilities) -> float:
    """Returns the top-label calibration error."""
    return top_label(samples, probabilities).ece()
