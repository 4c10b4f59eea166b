"""What numbers look like: probabilities, their multiples, whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_calib.ops.batch import SUM_TOLERANCE

# With this many, predictions hardly ever look like another kind by chance: logits like
# sigmoids, or whole numbers like class numbers.
ENOUGH = 16
# The same for multiples of probabilities.
A_FEW = 4


def row_sums(rows: np.ndarray) -> np.ndarray:
    """Returns the sums of rows, several times as fast as `sum` for short rows.

    A product with ones would wake the threads of BLAS, which then wait for more work.
    """
    dtype: Any = rows.dtype if rows.dtype.kind == "f" else "float64"
    with np.errstate(all="ignore"):
        sums: np.ndarray = np.einsum("nk->n", rows, dtype=dtype)
    return sums


def are(value: float, x: np.ndarray, tolerance: float = SUM_TOLERANCE) -> bool:
    """Says whether all numbers are equal to a value, up to a tolerance."""
    return bool(np.abs(x - value).max(initial=0) <= tolerance)


def is_whole(x: np.ndarray) -> bool:
    """Says whether all numbers are whole."""
    return x.dtype.kind in "biu" or bool((x == np.floor(x)).all())


def fill_unit_interval(x: np.ndarray) -> bool:
    """Says whether numbers are in [0, 1] and come near both ends, as sigmoids do."""
    return x.size >= ENOUGH and 0 <= x.min() < 0.05 and 0.95 < x.max() <= 1


def scale_of(rows: np.ndarray) -> float:
    """Returns c for rows c p of probabilities p, and 0 for rows that may be logits.

    The sums of c p vary far less than its entries do; the smallest entry is near 0, and
    the largest differs from row to row. Logits that are shifted to the same sum have
    both signs, or are far from 0; ranks are the same numbers in each row.
    """
    rows = rows.reshape(-1, rows.shape[-1]).astype("float64")
    k, sums, top = rows.shape[-1], row_sums(rows), rows.max(-1)
    scale = sums.mean()
    seen = (
        len(rows) >= (ENOUGH if is_whole(rows) else A_FEW)
        and rows.min() <= scale / k / 4
        and np.ptp(top) > scale / 16
        and np.ptp(sums) <= 0.1 * k**0.5 * rows.std()
    )
    return float(scale) if seen else 0.0
