"""Figures that depend on the order of confidences, from sums over cells in that order.

A cell is a fine bin, or all samples of one confidence; `cells` holds the sums of F
cells in rising order of confidence. The samples of a cell count as ties: figures are
means over their orders. A confidence that is NaN has no place in the order, and makes
every figure NaN. Each formula serves tensors and numpy arrays.
"""

from __future__ import annotations

from keras_calib.ops.calibration import BinSums, largest, ratio, weighted_mean
from keras_calib.ops.floats import (
    at_most,
    cast,
    cumsum,
    divide_no_nan,
    dtype_name,
    namespace,
    round_down,
)
from keras_calib.types import Tensor


def equal_mass_cuts(weight: Tensor, num_bins: int) -> Tensor:
    """Returns the M + 1 ranks that cut the weight into equal parts.

    A whole number N of samples is cut as `numpy.array_split` does it: the first
    N % M parts have one sample more. Other weights are cut at i N / M.
    """
    xp = namespace(weight)
    total = xp.sum(weight)
    i = cast(xp.arange(num_bins + 1), dtype_name(weight))
    size = round_down(total / num_bins)
    whole = i * size + at_most(i, total - num_bins * size)
    return xp.where(total == round_down(total), whole, i * (total / num_bins))


def sums_below(cells: BinSums, cuts: Tensor) -> BinSums:
    """Returns the sums below each cut.

    Args:
        cells: sums over F cells.
        cuts: ranks in rising order. A cell that is cut is divided in proportion.
    """
    ranks = _below(cells.weight)
    end = _cell_of(cuts, ranks)
    low, high = _ends(ranks, end)
    fraction = divide_no_nan(cuts - low, high - low)

    def below(x: Tensor) -> Tensor:
        low, high = _ends(_below(x), end)
        return low + fraction * (high - low)

    return cells.map(below)


def equal_mass_sums(cells: BinSums, num_bins: int) -> BinSums:
    """Returns the sums over M bins of equal weight."""
    below = sums_below(cells, equal_mass_cuts(cells.weight, num_bins))
    return below.map(lambda x: x[1:] - x[:-1])


def ks_error(cells: BinSums) -> Tensor:
    """Returns max_t |sum of (confidence - hit) where confidence <= t| / N."""
    xp = namespace(cells.weight)
    difference = xp.abs(cumsum(cells.confidence - cells.hits))
    return ratio(largest(difference), xp.sum(cells.weight))


def area_under_risk_coverage(cells: BinSums) -> Tensor:
    """Returns the mean over n of the risk of the n most confident samples.

    In a cell of w samples of which a fraction r are errors, with n samples and E
    errors in more confident cells, the mean over all orders of its ties is

    ```
    sum_{i=n+1}^{n+w} (E + (i - n) r) / i = r w + (E - n r) (H(n + w) - H(n))
    ```

    where H(n) is the n-th harmonic number, continued between whole numbers.
    """
    xp = namespace(cells.weight)
    w = xp.flip(cells.weight, axis=0)
    errors = w - xp.flip(cells.hits, axis=0)
    n, errors_before = _below(w)[:-1], _below(errors)[:-1]
    rate = divide_no_nan(errors, w)
    risk = rate * w + (errors_before - n * rate) * harmonic_difference(n, w)
    return _if_ordered(cells, weighted_mean(cells, risk))


def harmonic_difference(n: Tensor, w: Tensor) -> Tensor:
    """Returns H(n + w) - H(n) of harmonic numbers, for real n, w >= 0.

    It uses H(x) = H(x + 16) - sum_{i=1}^{16} 1 / (x + i) and the Euler-Maclaurin
    series H(x) = log x + gamma + 1/(2x) - 1/(12x^2) + 1/(120x^4) - .... The
    difference is taken term by term, so that nothing cancels for w much smaller than n.
    """
    steps = sum(w / ((n + i) * (n + w + i)) for i in range(1, 17))
    x, y = n + 16.0, n + w + 16.0
    # 1/x^2 - 1/y^2, 1/x^4 - 1/y^4
    squares = w * (x + y) / (x * y) ** 2
    fourths = squares * (1.0 / x**2 + 1.0 / y**2)
    series = -w / (2.0 * x * y) + squares / 12.0 - fourths / 120.0
    return namespace(n).log1p(w / x) + series + steps


def accuracy_at_coverage(cells: BinSums, coverage: float) -> Tensor:
    """Returns the accuracy of the fraction `coverage` of highest confidence."""
    xp = namespace(cells.weight)
    cells = cells.map(lambda x: xp.flip(x, axis=0))
    cut = xp.reshape(coverage * xp.sum(cells.weight), (1,))
    taken = sums_below(cells, cut)
    return _if_ordered(cells, ratio(taken.hits, taken.weight)[0])


def _if_ordered(cells: BinSums, figure: Tensor) -> Tensor:
    """Returns the figure, NaN if a confidence is."""
    total = namespace(cells.weight).sum(cells.confidence)
    return namespace(cells.weight).where(total == total, figure, total)


def _below(x: Tensor) -> Tensor:
    """Returns the sums of the cells below each edge, of shape (F + 1,)."""
    return namespace(x).pad(cumsum(x), ((1, 0),))


def _ends(x: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the values at the lower and at the upper edge of cells."""
    take = namespace(x).take
    return take(x, end - 1), take(x, end)


def _cell_of(cuts: Tensor, ranks: Tensor) -> Tensor:
    """Returns the upper edge of the cell in which each cut lies."""
    xp = namespace(ranks)
    return xp.clip(xp.searchsorted(ranks, cuts), 1, ranks.shape[0] - 1)
