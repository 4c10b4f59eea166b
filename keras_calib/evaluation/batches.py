"""Reads what users pass (arrays, streams, distributions) as chunks of numpy arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_calib._keras import get_keras_mask
from keras_calib.arguments import boolean, unless_none, whole_number
from keras_calib.evaluation.distributions import is_distribution, parameters
from keras_calib.ops.arrays import as_numbers, masked, require, require_samples

# The number of predictions in a chunk.
CHUNK = 2**21

_NUMBERS = ("y_true", "y_pred", "sample_weight")
_FORM = "a batch must be (y_true, y_pred) or (y_true, y_pred, sample_weight)"


@dataclass(frozen=True)
class Batch:
    """Samples along the first axis, which are converted to numpy when they are taken.

    Args:
        y_true: labels.
        y_pred: predictions; of an ensemble with the members along the second axis.
        sample_weight: weights, or `None`.
        from_logits: whether the predictions are logits.
        by: the number of the slice of each sample, or `None`.
    """

    y_true: Any
    y_pred: Any
    sample_weight: Any = None
    from_logits: bool = False
    by: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        *,
        from_logits: bool = False,
        members: int | None = None,
        multilabel: bool = False,
    ) -> Batch:
        """Returns arrays of any library, or those of a distribution, as a batch.

        Raises:
            ValueError: for arrays that hold no numbers, and for shapes that do not fit.
        """
        _require_one_order(y_true, y_pred, sample_weight)
        mask = get_keras_mask(y_pred)
        if is_distribution(y_pred):
            require(
                not from_logits and members is None,
                "a distribution itself says what it predicts: leave out from_logits "
                "and members",
                type(y_pred).__name__,
            )
            y_pred, from_logits = parameters(y_pred, multilabel)
        y_true, y_pred = _sliceable("y_true", y_true), _sliceable("y_pred", y_pred)
        if members is not None:
            y_pred = _members_second(y_pred, members)
        if sample_weight is not None:
            sample_weight = _sliceable("sample_weight", sample_weight)
        require_samples(y_true, y_pred, sample_weight)
        if mask is not None:
            sample_weight = masked(sample_weight, as_numbers("the mask", mask))
        return cls(y_true, y_pred, sample_weight, from_logits)

    def take(self, rows: slice | np.ndarray) -> Batch:
        """Returns the samples of a slice, or of booleans, as numpy arrays."""
        given = {name: getattr(self, name) for name in _NUMBERS}
        taken: dict[str, Any] = {
            # In C order, so that sums round the same way for every memory layout.
            k: np.ascontiguousarray(as_numbers(k, x[rows]))
            for k, x in given.items()
            if x is not None
        }
        by = None if self.by is None else self.by[rows]
        return replace(self, **taken, by=by)

    def parts(self) -> Iterator[tuple[int, Batch]]:
        """Yields the samples of each slice, with its number."""
        if self.by is not None:
            for number in np.unique(self.by).tolist():
                yield number, self.take(self.by == number)

    def __len__(self) -> int:
        return len(self.y_pred)

    @property
    def size(self) -> int:
        """The number of predictions of a sample."""
        return max(int(np.prod(self.y_pred.shape[1:])), 1)

    def joins(self, other: Batch) -> bool:
        """Says whether the samples of two batches of numpy arrays can be joined."""

        def form(batch: Batch) -> list[Any]:
            arrays = [getattr(batch, name) for name in _NUMBERS]
            shapes = [None if x is None else (x.shape[1:], x.dtype) for x in arrays]
            return [*shapes, batch.from_logits]

        return form(self) == form(other)


def batches_of(
    y_true: Any, y_pred: Any, sample_weight: Any, **how: Any
) -> tuple[Iterable[Batch], int | None]:
    """Returns batches, and the number of samples where it is known.

    Args:
        y_true: labels, or without `y_pred` an iterable of batches.
        y_pred: predictions, or `None`.
        sample_weight: weights, or `None`.
        **how: the other arguments of `Batch.of`.
    """
    if y_pred is not None:
        whole = Batch.of(y_true, y_pred, sample_weight, **how)
        return [whole], len(whole)
    require(
        sample_weight is None,
        "without `y_pred`, the weights come in the batches: (y_true, y_pred, "
        "sample_weight)",
        "sample_weight",
    )
    return (_batch(given, how) for given in _stream(y_true)), None


def in_chunks(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Joins and splits batches into chunks that do not depend on the batch sizes.

    So a stream gives exactly the figures of the same samples as whole arrays.
    """
    held: list[Batch] = []
    for batch in batches:
        rows, start = max(1, CHUNK // batch.size), 0
        while start < len(batch):
            part = batch.take(slice(start, start + rows - sum(map(len, held))))
            if held and not held[0].joins(part):
                yield _joined(held)
                held = []
                continue
            held.append(part)
            start += len(part)
            if sum(map(len, held)) == rows:
                yield _joined(held)
                held = []
    if held:
        yield _joined(held)


def shown(
    chunks: Iterable[Batch], count: int | None, verbose: bool | None
) -> Iterator[Batch]:
    """Yields chunks, and updates a progress bar.

    Args:
        chunks: chunks.
        count: the number of samples, if it is known.
        verbose: whether there is a bar; `None` for one if there are several chunks.
    """
    unless_none(boolean, "verbose", verbose)
    seen, bar = 0, None
    for chunk in chunks:
        yield chunk
        seen += len(chunk)
        several = seen < count if count else seen > len(chunk)
        if bar is None and (several if verbose is None else verbose):
            bar = keras.utils.Progbar(count, unit_name="sample")
        if bar:
            bar.update(seen, finalize=False)
    if bar:
        bar.update(seen, finalize=True)


def _joined(batches: list[Batch]) -> Batch:
    first = batches[0]
    if len(batches) == 1:
        return first
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(batch, name) for batch in batches])
        for name in (*_NUMBERS, "by")
        if getattr(first, name) is not None
    }
    return replace(first, **joined)


def _stream(batches: Any) -> Iterator[Any]:
    """Yields the batches of an iterable, which must be finite and not empty."""
    if isinstance(batches, keras.utils.PyDataset):
        count = batches.num_batches
        require(count is not None, "the batches must end", type(batches).__name__)
        batches = map(batches.__getitem__, range(count or 0))
    elif hasattr(batches, "cardinality"):
        require(
            int(batches.cardinality()) != -1,
            "the batches must end: use dataset.take(batches)",
            "an endless dataset",
        )
    alone = hasattr(batches, "shape") or isinstance(batches, dict | str | bytes)
    require(
        isinstance(batches, Iterable) and not alone,
        "`y_pred` is missing: write evaluate(y_true, y_pred), or evaluate(batches) for "
        f"an iterable of batches; {_FORM}",
        type(batches).__name__,
    )
    empty = True
    for batch in batches:
        empty = False
        yield batch
    require(not empty, "there must be at least one batch", "none")


def _batch(given: Any, how: dict[str, Any]) -> Batch:
    several = isinstance(given, tuple | list)
    kinds = ", ".join(type(part).__name__ for part in given[:4]) if several else ""
    require(
        several and len(given) in (2, 3),
        f"{_FORM}; without `y_pred`, `y_true` must be an iterable of batches",
        f"{type(given).__name__}{f' of {kinds}' * several}",
    )
    return Batch.of(*given, **how)


def _sliceable(name: str, x: Any) -> Any:
    """Returns an array that slices by position as it is, all else as a numpy array."""
    # Slices of a pandas object go by label, columns of polars may hold lists, a sparse
    # matrix has no length, and a sparse tensor of torch has no slices.
    other = any(hasattr(x, each) for each in ("iloc", "to_arrow", "toarray"))
    other = other or getattr(x, "is_sparse", False)
    if other or not all(hasattr(x, each) for each in ("shape", "dtype", "__len__")):
        return as_numbers(name, x)
    # The dtype of a tensor has no `kind`; that of objects or strings is another one.
    numbers = getattr(x.dtype, "kind", "f") in "biuf"
    return x if numbers else as_numbers(name, x)


def _require_one_order(y_true: Any, y_pred: Any, sample_weight: Any) -> None:
    """Refuses pandas objects with the same rows in different orders."""
    given = {"y_pred": y_pred, "y_true": y_true, "sample_weight": sample_weight}
    indexes: dict[str, Any] = {
        name: getattr(x, "index", None) for name, x in given.items()
    }
    rows = {name: index for name, index in indexes.items() if hasattr(index, "equals")}
    for (one, a), (other, b) in itertools.pairwise(rows.items()):
        require(
            a.equals(b) or not a.sort_values().equals(b.sort_values()),
            f"the rows of `{one}` and `{other}` have the same index in another order: "
            f"write {other}.loc[{one}.index], or .to_numpy() if they correspond as "
            "they stand",
            f"indexes that start with {a[:3].tolist()} and {b[:3].tolist()}",
        )


def _members_second(y_pred: Any, members: int) -> np.ndarray:
    """Moves the axis of the members to second place, after that of the samples."""
    if not isinstance(y_pred, np.ndarray):
        y_pred = as_numbers("y_pred", y_pred)
    rank = y_pred.ndim
    require(
        rank > 1 and -rank <= whole_number("members", members, -np.inf) < rank,
        "`members` must be the axis of the members in `y_pred`",
        f"members={members!r}, y_pred.shape={y_pred.shape}",
    )
    return np.moveaxis(y_pred, members, 1)
