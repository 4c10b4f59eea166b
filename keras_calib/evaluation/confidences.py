"""Confidences in order: all of them, or their sums over fine bins."""

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

# So many samples are kept before they are folded into fine bins.
MOST_KEPT = 10_000_000

# Errors below this are measured on a grid ten times as fine.
_SMALL = 0.01
_GRIDS = NUM_NODES, 10 * (NUM_NODES - 1) + 1


class Confidences:
    """Confidences and hits, from which figures of their order are computed.

    Args:
        exact: whether all are kept; `None` for up to 10 million of them.
    """

    def __init__(self, exact: bool | None) -> None:
        self._most = {True: np.inf, False: 0, None: MOST_KEPT}[exact]
        self._kept: list[Events] = []
        self._nodes: dict[int, np.ndarray] = {}
        self._fine: np.ndarray | None = None

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
        self._kept.append(Events(confidence, hit, weight, precision="float64"))
        if not self.exact or sum(len(e.hit) for e in self._kept) > self._most:
            self._fold()

    def _fold(self) -> None:
        for events in self._kept:
            sums = np.stack([_array(x) for x in events.sums(None)])
            self._fine = sums if self._fine is None else self._fine + sums
            for grid in _GRIDS:
                nodes = _array(node_sums(events, grid))
                self._nodes[grid] = self._nodes.get(grid, 0.0) + nodes
        self._kept = []

    def spoil(self) -> None:
        """Makes every figure NaN."""
        nan = Events(*(np.full(1, np.nan),) * 3, precision="float64")
        self._kept, self._fine, self._nodes = [nan], None, {}

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
        sums = bin_sums(self._events.terms, cell.astype("int32"), len(found))
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
        error = 0.0
        for grid in _GRIDS:
            nodes = node_sums(self._events, grid) if self.exact else self._nodes[grid]
            error = float(smooth_ece(_array(nodes)))
            if not error < _SMALL:
                break
        return error


def _array(x: object) -> np.ndarray:
    """Returns a tensor as a numpy array, floats in float64."""
    array = np.asarray(ops.convert_to_numpy(x) if ops.is_tensor(x) else x)
    return array if array.dtype.kind == "b" else array.astype("float64", copy=False)
