"""Slices of the samples, such as regions or months, each with its figures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_calib.evaluation.answer import Evaluation
from keras_calib.evaluation.batches import Batch
from keras_calib.metrics.tables import html_table, text_table
from keras_calib.ops.arrays import require

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Slices"]

# The figures of a slice of fewer samples are mostly noise.
_FEW = 100

# The figure under each heading, and the format of its numbers.
_SHOWN = {
    "accuracy": ("accuracy", ".4f"),
    "ece": ("ece", ".4f"),
    "ece_low": ("ece_low", ".4f"),
    "ece_high": ("ece_high", ".4f"),
    "gap": ("calibration_gap", "+.4f"),
    "nll": ("negative_log_likelihood", ".4f"),
}


class Slices(dict[Any, Evaluation]):
    """The `Evaluation` of each slice by its value, printed as one row each.

    Example:

    >>> import keras_calib
    >>> p = np.tile([[0.8, 0.2], [0.7, 0.3]], (100, 1))
    >>> by = ["north", "south"] * 100
    >>> found = keras_calib.evaluate([0, 1] * 100, p, by=by)
    >>> found.slices["north"]["accuracy"]
    1.0
    >>> print(found.slices)
    slice    n  accuracy     ece  ece_low  ece_high      gap     nll
    north  100    1.0000  0.2000   0.1698    0.2264  -0.2000  0.2231
    south  100    0.0000  0.7000   0.6698    0.7264  +0.7000  1.2040
    """

    def to_frame(self) -> pd.DataFrame:
        """Returns a pandas table with one row per slice and one column per figure."""
        import pandas as pd

        rows = {value: {"n": found.n, **found} for value, found in self.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("slice")

    def __str__(self) -> str:
        return text_table(*self._cells())

    def _repr_html_(self) -> str:
        return html_table(*self._cells())

    def _cells(self) -> tuple[list[str], Iterator[list[str]]]:
        """Returns the header and the rows of the table as text."""
        rows = (
            [str(value), str(found.n), *(f"{found[k]:{f}}" for k, f in _SHOWN.values())]
            for value, found in self.items()
        )
        return ["slice", "n", *_SHOWN], rows


def slices_of(by: Any) -> tuple[np.ndarray, list[Any]]:
    """Returns the number of the slice of each sample, and the values of the slices.

    Raises:
        ValueError: if `by` is not a list of values, or values are missing.
    """
    values = np.asanyarray(by)  # keeps a mask, whose entries become None
    require(
        values.ndim == 1,
        "`by` must hold one value for each sample",
        f"by.shape={values.shape}",
    )
    names = values.tolist()
    known = dict.fromkeys(names)
    # NaN == NaN is False, and for pandas's NA it is NA.
    missing = [name for name in known if name is None or (name == name) is not True]
    require(
        not missing,
        "`by` has missing values: give them a name of their own, such as 'unknown'",
        f"{missing[:1]}",
    )
    try:
        known = dict.fromkeys(sorted(known))
    except TypeError:  # values of several types stay in the order of the samples
        pass
    place = {name: i for i, name in enumerate(known)}
    return np.array([place[name] for name in names]), list(known)


def in_slices(batches: Iterable[Batch], numbers: np.ndarray) -> Iterator[Batch]:
    """Yields batches with the numbers of the slices of their samples.

    Raises:
        ValueError: unless there is one value for each sample.
    """
    start = 0
    for batch in batches:
        end = start + len(batch)
        _require_as_many(end <= len(numbers), numbers, f"at least {end}")
        yield replace(batch, by=numbers[start:end])
        start = end
    _require_as_many(start == len(numbers), numbers, f"{start}")


def _require_as_many(so: bool, numbers: np.ndarray, samples: str) -> None:
    required = "`by` must hold one value for each sample"
    require(so, required, f"{len(numbers)} values, {samples} samples")


def warn_of_few(slices: Slices) -> None:
    """Warns of small slices, the smallest first."""
    few = sorted((found.n, str(name)) for name, found in slices.items())
    named = [f"{name} ({n})" for n, name in few if n < _FEW]
    if named:
        warnings.warn(
            f"{len(named)} of {len(slices)} slices have fewer than {_FEW} samples, so "
            f"their figures are mostly noise: {', '.join(named[:10])}",
            stacklevel=3,
        )
