"""Each metric from its definition, in float64 numpy, and the metrics to be held to it.

A reference takes labels (integers or targets), probabilities and weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.optimize import minimize_scalar

from keras_calib import metrics


def top(y, p):
    """Confidence and hit of the top label."""
    predicted = p.argmax(-1)
    if y.ndim == p.ndim:
        hit = np.take_along_axis(y, predicted[..., None], -1)[..., 0]
    else:
        hit = predicted == y
    return p.max(-1), hit.astype("float64")


def one_hot(y, p):
    return y if y.ndim == p.ndim else np.eye(p.shape[-1])[y]


def binned(c, h, w, num_bins=15, norm="l1", edges=None):
    """The error over bins [i/M, (i+1)/M), by comparison with each edge."""
    if edges is None:
        edges = np.arange(num_bins + 1) / num_bins
    gaps, weights = [], []
    for i, (low, high) in enumerate(pairwise(edges)):
        last = i == len(edges) - 2
        inside = (c >= low) & ((c <= high) if last else (c < high))
        if w[inside].sum() > 0:
            mean = partial(np.average, weights=w[inside])
            gaps.append(abs(mean(c[inside]) - mean(h[inside])))
            weights.append(w[inside].sum())
    gaps, weights = np.array(gaps), np.array(weights)
    if not len(gaps):
        return 0.0
    share = weights / weights.sum()
    if norm == "max":
        return gaps.max()
    return (share @ gaps) if norm == "l1" else np.sqrt(share @ gaps**2)


def ece(y, p, w, **kwargs):
    return binned(*top(y, p), w, **kwargs)


def equal_mass(y, p, w, num_bins=15):
    """The error over parts of the sorted samples, each repeated by its weight."""
    c, h = (np.repeat(x, w.astype(int)) for x in top(y, p))
    order = np.argsort(c, kind="stable")
    parts = np.array_split(order, num_bins)
    return sum(abs((c[i] - h[i]).sum()) for i in parts) / max(len(c), 1)


def gap(y, p, w):
    c, h = top(y, p)
    return np.average(c - h, weights=w)


def brier(y, p, w, reduce=np.sum):
    return np.average(reduce((p - one_hot(y, p)) ** 2, axis=-1), weights=w)


def nll(y, p, w):
    y = one_hot(y, p)
    return np.average(-(y * np.log(np.where(y > 0, p, 1))).sum(-1), weights=w)


def refinement(y, p, w):
    """The likelihood after the best temperature, by SciPy."""
    y, z = one_hot(y, p), np.log(p)

    def loss(u):
        e = np.exp(np.exp(u) * (z - z.max(-1, keepdims=True)))
        return nll(y, e / e.sum(-1, keepdims=True), w)

    return minimize_scalar(loss, bounds=(-5.5, 5.5), method="bounded").fun


def accuracy(y, p, w):
    return np.average(top(y, p)[1], weights=w)


def perplexity(y, p, w):
    return np.exp(nll(y, p, w))


def entropy(y, p, w):
    return np.average(-(p * np.log(p)).sum(-1), weights=w)


def classwise(y, p, w, threshold=0.0):
    y = one_hot(y, p)
    errors = []
    for k in range(p.shape[-1]):
        counts = p[:, k] >= threshold
        errors.append(binned(p[counts, k], y[counts, k], w[counts]))
    return np.mean(errors) if (w @ (p >= threshold)).any() else np.nan


def top_k(y, p, w, k=3):
    order = np.argsort(-p, axis=-1, kind="stable")[:, :k]
    c = np.take_along_axis(p, order, -1).sum(-1)
    h = np.take_along_axis(one_hot(y, p), order, -1).sum(-1)
    return binned(c, h, w)


def ks(y, p, w):
    c, h = top(y, p)
    values = [abs((w * (c - h))[c <= t].sum()) for t in np.unique(c)]
    return max(values, default=0.0) / w.sum()


def aurc(y, p, w):
    c, h = (np.repeat(x, w.astype(int)) for x in top(y, p))
    errors = 1 - h[np.argsort(-c, kind="stable")]
    return np.mean(np.cumsum(errors) / np.arange(1, len(errors) + 1))


def accuracy_at(y, p, w, coverage=0.9):
    c, h = (np.repeat(x, w.astype(int)) for x in top(y, p))
    h = h[np.argsort(-c, kind="stable")]
    n = coverage * len(h)
    whole = int(n)
    part = (n - whole) * h[whole] if whole < len(h) else 0.0
    return (h[:whole].sum() + part) / n


def smooth(y, p, w):
    """smECE by direct sums over the samples, on relplot's grid and bandwidths."""
    c, h = top(y, p)
    grid = np.arange(1001) / 1000

    def smoothed_error(sigma):
        points = np.linspace(0, 1, int(np.clip(round(10 / sigma), 200, 1001)))
        node = np.clip((c * 1000).astype(int), 0, 999)
        share = c * 1000 - node
        out = []
        for value in (w * (c - h), w):
            at = np.bincount(node, value * (1 - share), 1001)
            at += np.bincount(node + 1, value * share, 1001)
            total = np.zeros(1001)
            for i in np.flatnonzero(at):
                for mirror in (grid[i], -grid[i], 2 - grid[i]):
                    d = np.abs(grid - mirror)
                    kernel = np.exp(-0.5 * (d / sigma) ** 2)
                    kernel /= np.sqrt(2 * np.pi) * sigma
                    total += at[i] * np.where(d <= 0.5 + 1e-9, kernel, 0)
            out.append(np.interp(points, grid, total))
        return np.abs(out[0]).sum() / (out[1] + 1e-4).sum()

    high, low = 1.0, 0.0
    for _ in range(10):
        middle = (low + high) / 2
        if middle < 0.001 or middle < smoothed_error(middle):
            low = middle
        else:
            high = middle
    return smoothed_error(high)


def binary(y, p, w, definition="positive_class", norm="l1"):
    y, p = y.reshape(-1), p.reshape(-1)
    if definition == "predicted_class":
        y, p = np.where(p > 0.5, y, 1 - y), np.where(p > 0.5, p, 1 - p)
    return binned(p, y, w, norm=norm)


def binary_brier(y, p, w):
    return np.average((p.reshape(-1) - y.reshape(-1)) ** 2, weights=w)


def multilabel(y, p, w):
    return np.mean([binned(p[:, i], y[:, i], w) for i in range(p.shape[1])])


def decomposition(y, p, w, by="predicted_class"):
    """Murphy's parts and the two within groups, as sums over the groups."""
    t = one_hot(y, p)
    c = p.max(-1)
    group = p.argmax(-1) if by == "predicted_class" else (c * 15).astype(int)
    n, base = w.sum(), np.average(t, axis=0, weights=w)
    parts = dict.fromkeys(
        ("reliability", "resolution", "uncertainty", "variance", "covariance"), 0.0
    )
    for g in np.unique(group[w > 0]):
        i = group == g
        v = w[i] / n
        mean_p = np.average(p[i], axis=0, weights=v)
        mean_t = np.average(t[i], axis=0, weights=v)
        parts["reliability"] += v.sum() * ((mean_p - mean_t) ** 2).sum()
        parts["resolution"] += v.sum() * ((mean_t - base) ** 2).sum()
        parts["variance"] += v @ ((p[i] - mean_p) ** 2).sum(-1)
        parts["covariance"] += 2 * v @ ((p[i] - mean_p) * (t[i] - mean_t)).sum(-1)
    parts["uncertainty"] = np.average((t**2).sum(-1), weights=w) - (base**2).sum()
    parts["within_variance"] = parts.pop("variance")
    parts["within_covariance"] = parts.pop("covariance")
    return {f"brier_{name}": part for name, part in parts.items()}


@dataclass
class Row:
    """A metric, its reference, and what the common tests must know of it.

    Args:
        make: makes the metric.
        expected: the reference, a function of labels, probabilities and weights.
        kind: what it measures: `"classes"`, one `"binary"` label, or `"labels"`.
        atol: how far streaming may be off.
        one_probability: whether a metric of classes also takes one probability.
        min_classes: the smallest number of classes.
        same_names: whether its figures have the names of another row's.
        direction: `"up"` or `"down"`, whichever is better, `None` if neither is.
        splits_ties: whether samples of one confidence count in the order they come in.
        slow_to_compile: whether that takes longer than the other metrics together.
    """

    make: Callable
    expected: Callable
    kind: str = "classes"
    atol: float = 1e-6
    one_probability: bool = False
    min_classes: int = 2
    same_names: bool = False
    direction: str | None = "down"
    splits_ties: bool = False
    slow_to_compile: bool = False

    @property
    def name(self):
        return self.make().name


def row(cls, expected, *args, name=None, **kwargs):
    """Returns a row: its fields by keyword, and the arguments of the metric."""
    own = {f.name: kwargs.pop(f.name) for f in fields(Row) if f.name in kwargs}
    return Row(partial(cls, *args, name=name, **kwargs), expected, **own)


M = metrics
TABLE = {
    r.name: r
    for r in [
        row(M.ExpectedCalibrationError, ece),
        row(M.ExpectedCalibrationError, partial(ece, norm="l2"), 15, "l2", name="l2"),
        row(M.ExpectedCalibrationError, partial(ece, norm="max"), 15, "max", name="mx"),
        row(
            M.ExpectedCalibrationError,
            partial(equal_mass, num_bins=5),
            5,
            binning="equal_mass",
            name="equal_mass",
            atol=5e-3,  # test_equal_mass.py holds it to its own bound
            splits_ties=True,
        ),
        row(M.MaximumCalibrationError, partial(ece, norm="max")),
        row(M.CalibrationGap, gap, direction=None),
        row(M.BrierScore, brier, one_probability=True),
        row(
            M.BrierScore,
            partial(brier, reduce=np.mean),
            "mean",
            name="brier_mean",
            one_probability=True,
        ),
        row(M.BrierDecomposition, decomposition, direction=None),
        row(
            M.BrierDecomposition,
            partial(decomposition, by="confidence"),
            "confidence",
            name="by_confidence",
            same_names=True,
            direction=None,
        ),
        row(M.Accuracy, accuracy, direction="up"),
        row(M.NegativeLogLikelihood, nll),
        row(M.RefinementLoss, refinement, one_probability=True, atol=1e-4),
        row(M.Perplexity, perplexity, atol=2e-4),  # of up to 1000, in float32
        row(M.PredictiveEntropy, entropy, direction=None),
        row(M.ClasswiseECE, classwise),
        row(
            M.ClasswiseECE,
            partial(classwise, threshold=0.1),
            threshold=0.1,
            name="threshold",
        ),
        row(M.TopKCalibrationError, top_k, 3, min_classes=3),
        row(M.KSCalibrationError, ks, atol=5e-3),
        row(M.AURC, aurc, atol=2e-3, splits_ties=True, slow_to_compile=True),
        row(
            M.AccuracyAtCoverage,
            accuracy_at,
            atol=5e-3,
            direction="up",
            splits_ties=True,
        ),
        row(M.SmoothECE, smooth, atol=2e-5, slow_to_compile=True),
        row(M.BinaryECE, binary, kind="binary"),
        row(
            M.BinaryECE,
            partial(binary, definition="predicted_class", norm="l2"),
            "predicted_class",
            15,
            "l2",
            kind="binary",
            name="predicted",
        ),
        row(M.BrierScore, binary_brier, kind="binary", name="binary_brier"),
        row(M.MultilabelECE, multilabel, kind="labels"),
    ]
}


def data(kind, n=300, k=5, seed=0, edges=True):
    """Labels, probabilities and whole weights; some probabilities on edges."""
    rng = np.random.default_rng(seed)
    w = rng.integers(0, 4, n).astype("float32")
    if kind == "classes":
        p = rng.dirichlet(np.full(k, 0.5), n) + 1e-3
        p = (p / p.sum(-1, keepdims=True)).astype("float32")
        y = np.array([rng.choice(k, p=row / row.sum()) for row in p.astype("float64")])
        return y.astype("int32"), p, w
    p = rng.random((n, 1 if kind == "binary" else k)).astype("float32") ** 2
    return (rng.random(p.shape) < p**1.5).astype("int32"), p, w


def figures(result):
    """A result as floats by name."""
    if not isinstance(result, dict):
        result = {"": result}
    return {name: float(x) for name, x in result.items()}


def assert_nan(result):
    found = figures(result)
    assert np.isnan(list(found.values())).all(), found


def assert_close(found, expected, atol=1e-6):
    found, expected = figures(found), figures(expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        both_nan = np.isnan(found[name]) and np.isnan(value)
        close = both_nan or abs(found[name] - value) <= atol
        assert close, (name, found[name], value)
