"""Metrics: streaming against torchmetrics, five against one, and what checks cost."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np

from benchmarks.timing import Row, interleaved, ratios
from keras_calib.metrics import (
    BinStatistics,
    BrierScore,
    CalibrationMetric,
    CalibrationMetrics,
    ExpectedCalibrationError,
)

BACKENDS = ("tensorflow",)

BATCH, NUM_CLASSES, SAMPLES = 8192, 10, 4_000_000


def rows() -> Iterator[Row]:
    """Yields the stream and its peer, its memory, five metrics to one, and checks."""
    yield from _stream()
    yield from _memory()
    for mode, jit_compile in (("graph", False), ("XLA", True)):
        yield _five_to_one(mode, jit_compile)
        for metric in (ExpectedCalibrationError, BrierScore):
            yield _checks(metric, mode, jit_compile)


def _batches(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.random((count, NUM_CLASSES), dtype="float32") ** 4
    p /= p.sum(axis=1, keepdims=True)
    return rng.integers(0, NUM_CLASSES, count, dtype="int32"), p


def _update(metric, jit_compile: bool) -> Callable:
    import tensorflow as tf

    y, p = _batches(BATCH)
    metric.update_state(y, p)  # creates what depends on the number of classes
    metric.reset_state()
    return tf.function(metric.update_state, jit_compile=jit_compile)


def _stream() -> Iterator[Row]:
    """Yields the time of ECE on 4 million x 10 samples in batches of 8192."""
    try:
        import torch
        from torchmetrics.classification import MulticlassCalibrationError
    except ImportError:
        print("(ECE against torchmetrics: needs `pip install torch torchmetrics`)")
        return
    y, p = _batches(SAMPLES)
    starts = range(0, SAMPLES - SAMPLES % BATCH, BATCH)
    peer = MulticlassCalibrationError(NUM_CLASSES, n_bins=15)
    y_torch, p_torch = torch.from_numpy(y), torch.from_numpy(p)
    seen = slice(0, starts.stop)
    hits = p[seen].argmax(axis=1) == y[seen]
    exact = BinStatistics.from_predictions(p[seen].max(axis=1), hits, 15).ece()
    metrics = {
        "graph": ExpectedCalibrationError(),
        "XLA": ExpectedCalibrationError(),
    }
    updates = {k: _update(m, k == "XLA") for k, m in metrics.items()}
    times = {"peer": [], **{k: [] for k in metrics}}
    for _ in range(3):  # of 488 batches each
        start = time.perf_counter()
        peer.reset()
        for i in starts:
            peer.update(p_torch[i : i + BATCH], y_torch[i : i + BATCH])
        expected = float(peer.compute())
        times["peer"].append(time.perf_counter() - start)
        assert abs(expected - exact) < 1e-3, expected  # torchmetrics sums in float32
        for name, metric in metrics.items():
            start = time.perf_counter()
            metric.reset_state()
            for i in starts:
                updates[name](y[i : i + BATCH], p[i : i + BATCH])
            found = float(metric.result())
            times[name].append(time.perf_counter() - start)
            assert abs(found - exact) < 1e-6, found
    found = ratios(times, "peer")
    samples = len(starts) * BATCH
    for name in metrics:
        ours, theirs = (min(times[k]) / samples * 1e9 for k in (name, "peer"))
        note = f"{ours:.0f} against {theirs:.0f} ns per sample"
        yield Row(f"ECE of 4e6 x 10, {name} / torchmetrics", found[name], 0.35, note)


def _memory() -> Iterator[Row]:
    """Yields the ratio of resident memory after 1000 batches to that after 100."""
    metric = ExpectedCalibrationError()
    y, p = _batches(BATCH)
    update = _update(metric, jit_compile=False)
    sizes = []
    for count in (100, 900):
        for _ in range(count):
            update(y, p)
        gc.collect()
        sizes.append(_resident())
    grown = (sizes[1] - sizes[0]) / 2**20
    yield Row(
        "ECE: memory after 8.2e6 samples / 8.2e5",
        sizes[1] / sizes[0],
        1.01,
        f"{grown:+.1f} MB",
    )


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def _five_to_one(mode: str, jit_compile: bool) -> Row:
    y, p = map(keras.ops.convert_to_tensor, _batches(BATCH))
    one = _update(ExpectedCalibrationError(), jit_compile)
    five = _update(CalibrationMetrics(), jit_compile)
    calls = {"one": lambda: one(y, p), "five": lambda: five(y, p)}
    found = ratios(interleaved(calls, 400), "one")
    return Row(f"CalibrationMetrics of five / ECE, {mode}", found["five"], 1.5)


def _checks(metric: type[CalibrationMetric], mode: str, jit_compile: bool) -> Row:
    class Unchecked(metric):
        def accumulate(self, batch):
            batch.sound = True
            super().accumulate(batch)

    y, p = map(keras.ops.convert_to_tensor, _batches(BATCH))
    checked, unchecked = (
        _update(metric(), jit_compile),
        _update(Unchecked(), jit_compile),
    )
    calls = {"with": lambda: checked(y, p), "without": lambda: unchecked(y, p)}
    found = ratios(interleaved(calls, 400), "without")
    name = f"{metric.__name__}, {mode}: with checks / without"
    return Row(name, found["with"], 1.1)
