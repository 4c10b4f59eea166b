"""How far fine bins may move the figures that depend on the order of confidences.

Inside a cell the order is unknown, and hits may come first or last. Each bound compares
these extremes with the figure, which is a mean over all orders. Samples that all lie at
0 or at 1 are ties, whose order does not matter. The functions take numpy arrays.
"""

from __future__ import annotations

import numpy as np

from keras_calib.ops.calibration import BinSums, ratio
from keras_calib.ops.floats import divide_no_nan
from keras_calib.ops.ranked import equal_mass_cuts, harmonic_difference, ks_error


def equal_mass_bound(cells: BinSums, edges: np.ndarray, num_bins: int) -> float:
    """Bounds how far the l1 error over bins of equal weight is off.

    Cuts divide a cell of weight w, accuracy a and mean confidence c in [low, high] into
    parts of weight s. Their sums of hits are off by at most max(min(s, wa) - sa, sa -
    max(0, s - w(1 - a))) each, and by 2wa(1 - a) together; their sums of confidences by
    2w(high - c)(c - low) / (high - low) together.
    """
    w, total = cells.weight, cells.weight.sum()
    ranks = np.append(0.0, np.cumsum(w))
    cuts = equal_mass_cuts(w, num_bins)[1:-1]
    cell = np.searchsorted(ranks, cuts, side="right") - 1
    bound = 0.0
    for i in np.unique(cell[(cell < len(w)) & (ranks[cell] < cuts)]):
        if not _is_mixed(cells)[i]:
            continue
        inner = cuts[cell == i] - ranks[i]
        s = np.diff(np.concatenate([[0.0], inner, [w[i]]]))
        h, c = cells.hits[i], cells.confidence[i] / w[i]
        mean = s * h / w[i]
        most, least = np.minimum(s, h), np.maximum(0.0, s - (w[i] - h))
        each = np.maximum(most - mean, mean - least).sum()
        low, high = edges[i : i + 2]
        bound += min(each, 2 * h * (1 - h / w[i]))
        bound += 2 * w[i] * (high - c) * (c - low) / (high - low)
    return min(float(ratio(bound, total)), 1.0)


def ks_bound(cells: BinSums, edges: np.ndarray) -> float:
    """Bounds how much the KS error is too low: hits or misses may come first."""
    difference = cells.confidence - cells.hits
    before = np.cumsum(difference) - difference
    mixed = _is_mixed(cells)
    above = before + (cells.weight - cells.hits) * edges[1:]
    below = before - cells.hits * (1 - edges[:-1])
    extremes = np.maximum(np.abs(above), np.abs(below))[mixed]
    most = ratio(extremes.max(initial=0.0), cells.weight.sum())
    return max(float(most - ks_error(cells)), 0.0)


def aurc_bound(cells: BinSums) -> float:
    """Bounds how far the area under the risk-coverage curve is off.

    With n samples and E errors before, m errors in a row add sum_{i=1}^m (E + i) / (n +
    i) = m + (E - n) (H(n + m) - H(n)).
    """
    mixed = _is_mixed(cells)[::-1]
    w, errors = cells.weight[::-1], (cells.weight - cells.hits)[::-1]
    n, e = np.cumsum(w) - w, np.cumsum(errors) - errors

    def risk(n: np.ndarray, e: np.ndarray, m: np.ndarray) -> np.ndarray:
        return np.asarray(m + (e - n) * harmonic_difference(n, m))

    right = w - errors
    first = risk(n, e, errors) + (e + errors) * harmonic_difference(n + errors, right)
    last = e * harmonic_difference(n, right) + risk(n + right, e, errors)
    rate = divide_no_nan(errors, w)
    mean = rate * w + (e - n * rate) * harmonic_difference(n, w)
    off = [(first - mean)[mixed].sum(), (mean - last)[mixed].sum()]
    return float(ratio(max(off), w.sum()))


def accuracy_bound(cells: BinSums, coverage: float) -> float:
    """Bounds how far the accuracy at a coverage that cuts a cell is off."""
    w, hits = cells.weight[::-1], cells.hits[::-1]
    ranks = np.append(0.0, np.cumsum(w))
    cut = coverage * ranks[-1]
    i = min(int(np.searchsorted(ranks, cut, side="left")), len(w)) - 1
    if not _is_mixed(cells)[::-1][i]:
        return 0.0
    taken = cut - ranks[i]
    mean = taken * hits[i] / w[i]
    most, least = min(taken, hits[i]), max(0.0, taken - (w[i] - hits[i]))
    return float(max(most - mean, mean - least) / cut)


def _is_mixed(cells: BinSums) -> np.ndarray:
    """Says which cells have samples that do not all lie at 0 or at 1."""
    inside = (cells.confidence > 0) & (cells.confidence < cells.weight)
    return np.asarray(inside)
