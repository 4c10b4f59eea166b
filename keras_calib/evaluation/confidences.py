"""Confidences and hits: their sums over bins, and their order."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from keras_calib.metrics.bin_statistics import BinStatistics
from keras_calib.ops.binning import fine_edges
from keras_calib.ops.calibration import BinSums
from keras_calib.ops.events import Events
from keras_calib.ops.smooth import NUM_NODES, node_sums, smooth_ece
from keras_calib.ops.sums import bin_sums

# The number of samples that are kept before they are folded into fine bins. Sorting
# takes about 150 bytes for each.
MOST_KEPT = 2_000_000

# Errors below this are measured on a grid that is ten times as fine.
_SMALL = 0.01
_FINER = 10
_NODES = _FINER * (NUM_NODES - 1) + 1


class Confidences:
    """Confidences and hits, summed over bins, and kept or summed over fine bins.

    Args:
        num_bins: the number of equal-width bins.
        exact: whether all are kept; `None` keeps up to 2 million of them.
    """

    def __init__(self, num_bins: int, exact: bool | None) -> None:
        self._num_bins = num_bins
        self._most = {True: np.inf, False: 0, None: MOST_KEPT}[exact]
        self.n = 0
        self._bins: Any = 0.0
        self._kept: list[Events] = []
        self._fine: Any = None
        self._nodes: Any = 0.0

    @property
    def exact(self) -> bool:
        """Whether no confidence has been folded."""
        return self._fine is None

    def add(self, events: Events) -> None:
        """Adds a chunk."""
        confidence, hit = map(_array, (events.confidence, events.hit))
        weight = events.sample_weight
        if weight is not None:
            counts = (weight := _array(weight)) != 0
            confidence, hit, weight = confidence[counts], hit[counts], weight[counts]
        if hit.dtype.kind == "f" and ((hit == 0) | (hit == 1)).all():
            hit = hit == 1
        self.n += len(hit)
        events = Events(confidence, hit, weight, precision=events.precision)
        self._bins = self._bins + _stacked(events, self._num_bins)
        self._kept.append(events)
        if not self.exact or self.n > self._most:
            self._fold()

    def _fold(self) -> None:
        if self.exact:
            self._fine = 0.0
        for events in self._kept:
            self._fine = self._fine + _stacked(events, None)
            self._nodes = self._nodes + _array(node_sums(events, _NODES))
        self._kept = []

    def spoil(self) -> None:
        """Makes every figure NaN."""
        nan = Events(*(np.full(1, np.nan),) * 3, precision="float64")
        self._kept, self._fine = [nan], None
        self._bins = np.full((4, self._num_bins), np.nan)

    @property
    def bins(self) -> BinStatistics:
        """The sums over the equal-width bins."""
        return BinStatistics(*self._bins)

    @cached_property
    def _events(self) -> Events:
        weights = [e.sample_weight for e in self._kept]
        kept = zip(*((e.confidence, e.hit) for e in self._kept), strict=True)
        confidence, hit = map(np.concatenate, kept)
        weight = None
        if any(w is not None for w in weights):
            ones = [np.ones(len(e.hit)) for e in self._kept]
            filled = zip(weights, ones, strict=True)
            weight = np.concatenate([o if w is None else w for w, o in filled])
        return Events(confidence, hit, weight, precision="float64")

    @cached_property
    def fine_statistics(self) -> BinStatistics:
        """The sums over the fine bins."""
        sums: Any = self._events.sums(None) if self._fine is None else self._fine
        return BinStatistics(*map(_array, sums), edges=fine_edges())

    @cached_property
    def statistics(self) -> BinStatistics:
        """The sums over the fine bins, or over one bin for each confidence."""
        if not self.exact:
            return self.fine_statistics
        found, cell = np.unique(self._events.confidence, return_inverse=True)
        sums = bin_sums(self._events.terms(), cell.astype("int32"), len(found))
        return BinStatistics(*map(_array, sums), edges=np.append(found, 1.0))

    @property
    def cells(self) -> BinSums:
        """The same sums, in rising order of confidence."""
        return self.statistics.sums

    @property
    def edges(self) -> np.ndarray:
        """The edges of their bins."""
        return self.statistics.edges

    @cached_property
    def smooth_ece(self) -> float:
        """The smooth calibration error."""
        nodes = node_sums(self._events, _NODES) if self.exact else self._nodes
        nodes = _array(nodes)
        error = float(smooth_ece(_coarser(nodes)))
        return float(smooth_ece(nodes)) if error < _SMALL else error


def _coarser(nodes: np.ndarray) -> np.ndarray:
    """Distributes sums at the nodes of a grid over a grid ten times as coarse."""
    share = np.arange(_FINER) / _FINER
    between = nodes[:, :-1].reshape(2, -1, _FINER)
    sums = np.append(between @ (1.0 - share), nodes[:, -1:], axis=-1)
    sums[:, 1:] += between @ share
    return sums


def _stacked(events: Events, num_bins: int | None) -> np.ndarray:
    sums: Any = events.sums(num_bins)
    return np.stack(sums)


def _array(x: object) -> np.ndarray:
    """Returns a tensor as a numpy array, floats in float64."""
    array = np.asarray(ops.convert_to_numpy(x) if ops.is_tensor(x) else x)
    return array if array.dtype.kind == "b" else array.astype("float64", copy=False)
