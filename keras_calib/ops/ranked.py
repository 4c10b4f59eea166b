"""What depends on the order of confidences, from sums over cells in that order.

A cell is a fine bin, or all samples of one confidence. `cells` is a tensor of shape
(F, C) in rising order of confidence; its columns are weight, confidence, hits and
what else adds up. Samples of one cell count as ties, of any order alike.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_calib.ops.floats import at_most, cumsum, divide_no_nan, floor


def equal_mass_cuts(weight: Any, num_bins: int) -> Any:
    """Returns the M + 1 ranks that cut the weight into equal parts.

    A whole number N of samples is cut as `numpy.array_split` does it: the first
    N % M parts have one sample more. Other weights are cut at i N / M.
    """
    total = ops.sum(weight)
    i = ops.cast(ops.arange(num_bins + 1), weight.dtype)
    size = floor(total / num_bins)
    whole = i * size + at_most(i, total - num_bins * size)
    return ops.where(total == floor(total), whole, i * (total / num_bins))


def sums_below(cells: Any, cuts: Any) -> Any:
    """Returns the sums of what lies below each cut, of shape (len(cuts), C).

    Args:
        cells: sums of shape (F, C), the first column being the weight.
        cuts: ranks in rising order; a cell that is cut gives its share.
    """
    below = _below(cells)
    end = ops.clip(ops.searchsorted(below[:, 0], cuts), 1, cells.shape[0])
    low, high = ops.take(below, end - 1, axis=0), ops.take(below, end, axis=0)
    share = divide_no_nan(cuts - low[:, 0], high[:, 0] - low[:, 0])
    return low + ops.expand_dims(share, -1) * (high - low)


def equal_mass_sums(cells: Any, num_bins: int) -> Any:
    """Returns the sums over bins of equal weight, of shape (M, C)."""
    below = sums_below(cells, equal_mass_cuts(cells[:, 0], num_bins))
    return below[1:] - below[:-1]


def equal_mass_error_bound(cells: Any, num_bins: int) -> Any:
    """Bounds what cells cost the l1 error over bins of equal weight.

    Where a cut leaves the share f of a cell of weight w below it, the sum of r =
    confidence - hit below the cut is off by f (1 - f) w times the difference of the
    mean r on both sides. That is at most 1 plus the width of the cell, 1/512. Two
    bins meet at a cut.
    """
    weight = cells[:, 0]
    below = _below(cells)[:, 0]
    cuts = equal_mass_cuts(weight, num_bins)[1:-1]
    if not cuts.shape[0]:
        return ops.zeros((), dtype=weight.dtype)
    end = ops.clip(ops.searchsorted(below, cuts), 1, cells.shape[0])
    low, high = ops.take(below, end - 1), ops.take(below, end)
    # f (1 - f) w
    split = divide_no_nan((cuts - low) * (high - cuts), high - low)
    return divide_no_nan(2.0 * (1.0 + 1.0 / 512) * ops.sum(split), ops.sum(weight))


def ks_error(cells: Any) -> Any:
    """Returns max_t |sum of (confidence - hit) where confidence <= t| / N."""
    difference = ops.abs(cumsum(cells[:, 1] - cells[:, 2]))
    return divide_no_nan(ops.max(difference), ops.sum(cells[:, 0]))


def area_under_risk_coverage(cells: Any) -> Any:
    """Returns the mean over n of the risk of the n most confident samples.

    In a cell of n samples to the left and w in it, with E errors to the left and a
    share r of errors in it, the mean over all orders of its ties is

    ```
    sum_{i=n+1}^{n+w} (E + (i - n) r) / i = r w + (E - n r) (H(n + w) - H(n)),
    ```

    H(n) being the n-th harmonic number, which goes on between whole numbers.
    """
    cells = ops.flip(cells, axis=0)
    w, errors = cells[:, 0], cells[:, 0] - cells[:, 2]
    below = _below(ops.stack([w, errors], axis=-1))[:-1]
    n, errors_before = below[:, 0], below[:, 1]
    rate = divide_no_nan(errors, w)
    risk = rate * w + (errors_before - n * rate) * harmonic_difference(n, w)
    return divide_no_nan(ops.sum(risk), ops.sum(w))


def harmonic_difference(n: Any, w: Any) -> Any:
    """Returns H(n + w) - H(n) of harmonic numbers, for real n, w >= 0.

    By H(x) = H(x + 16) - sum_{i=1}^{16} 1 / (x + i) and Euler and Maclaurin's
    H(x) = log x + gamma + 1/(2x) - 1/(12x^2) + 1/(120x^4) - ..., term by term so
    that nothing cancels where w is small beside n.
    """
    steps = sum(w / ((n + i) * (n + w + i)) for i in range(1, 17))
    x, y = n + 16.0, n + w + 16.0
    # 1/x^2 - 1/y^2, 1/x^4 - 1/y^4
    squares = w * (x + y) / (x * y) ** 2
    fourths = squares * (1.0 / x**2 + 1.0 / y**2)
    series = -w / (2.0 * x * y) + squares / 12.0 - fourths / 120.0
    return ops.log1p(w / x) + series + steps


def accuracy_at_coverage(cells: Any, coverage: float) -> Any:
    """Returns the share of hits among the share `coverage` of highest confidence."""
    cells = ops.flip(cells, axis=0)
    cut = ops.reshape(coverage * ops.sum(cells[:, 0]), (1,))
    taken = sums_below(cells, cut)[0]
    return divide_no_nan(taken[2], taken[0])


def _below(cells: Any) -> Any:
    """Returns the sums of the cells below each edge, of shape (F + 1, C)."""
    return ops.pad(cumsum(cells), ((1, 0), (0, 0)))
