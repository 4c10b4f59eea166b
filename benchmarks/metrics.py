"""Metrics: streaming against torchmetrics, five against one, and what checks cost.

On JAX: an update on a GPU against the least that must be read.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import keras

from benchmarks import stream
from benchmarks.timing import Process, Row, interleaved, ratios
from keras_calib.metrics import (
    BinStatistics,
    BrierScore,
    CalibrationMetric,
    CalibrationMetrics,
    ExpectedCalibrationError,
    NegativeLogLikelihood,
    SmoothECE,
)

BACKENDS = ("tensorflow", "jax")

# Batches of images with many classes, and pixels of a segmentation.
SIZES = {"gpu": ((8192, 1000), (4_000_000, 21)), "cpu": ((8192, 10), (1024, 1000))}


def rows() -> Iterator[Row]:
    """Yields the stream and its peer, its memory, five metrics to one, and checks."""
    if keras.backend.backend() == "jax":
        yield from _beside_reading()
        return
    yield from _stream()
    yield from _memory()
    for mode, jit_compile in (("graph", False), ("XLA", True)):
        yield _five_to_one(mode, jit_compile)
        for metric in (ExpectedCalibrationError, BrierScore):
            yield _checks(metric, mode, jit_compile)


def _beside_reading() -> Iterator[Row]:
    """Yields the ratios of updates to the maximum and argmax of the same logits."""
    import jax
    import jax.numpy as jnp

    metrics = {
        ExpectedCalibrationError: 1.6,
        CalibrationMetrics: 2.5,
        BrierScore: None,
        NegativeLogLikelihood: None,
        SmoothECE: None,
    }
    device = jax.default_backend()
    for size in SIZES[device]:
        keys = jax.random.split(jax.random.key(0))
        z = jax.random.normal(keys[0], size)
        y = jax.random.randint(keys[1], size[:1], 0, size[1])
        peer = jax.jit(lambda z: (jnp.max(z, axis=-1), jnp.argmax(z, axis=-1)))
        calls = {"peer": partial(_waited, peer, z)}
        for cls in metrics:
            calls[cls.__name__] = _jax_update(cls(from_logits=True), y, z)
        times = interleaved(calls, rounds=30)
        found = ratios(times, "peer")
        medians = {name: 1e3 * statistics.median(t) for name, t in times.items()}
        for cls, goal in metrics.items():
            name = cls.__name__
            note = f"peer: {medians['peer']:.3f} ms; ours {medians[name]:.3f} ms"
            row = f"{name} {size} / max + argmax"
            yield Row(row, found[name], goal if device == "gpu" else None, note)


def _waited(function: Callable, *arguments) -> object:
    import jax

    return jax.block_until_ready(function(*arguments))


def _jax_update(metric: keras.metrics.Metric, y, z) -> Callable[[], object]:
    import jax

    metric.update_state(y[:2], z[:2])  # creates all variables
    metric.reset_state()
    state = [variable.value for variable in metric.variables]

    @jax.jit
    def update(state, y, z):
        return metric.stateless_update_state(state, y, z)

    def call() -> None:
        nonlocal state
        state = _waited(update, state, y, z)

    return call


def _update(metric: keras.metrics.Metric, jit_compile: bool) -> Callable:
    import tensorflow as tf

    y, p = stream.samples(stream.BATCH)
    metric.update_state(y, p)  # creates what depends on the number of classes
    metric.reset_state()
    return tf.function(metric.update_state, jit_compile=jit_compile)


def _stream() -> Iterator[Row]:
    """Yields the time of ECE on 4 million x 10 samples in batches of 8192."""
    processes = {name: Process("benchmarks.stream", name) for name in stream.STREAMS}
    peers = [name for name in processes if "torchmetrics" in name]
    if not all(processes[name].ready for name in peers):
        print("(ECE against torchmetrics: needs `pip install torch torchmetrics`)")
        return
    y, p = stream.samples(stream.SAMPLES)
    hits = p.argmax(axis=1) == y
    exact = BinStatistics.from_predictions(p.max(axis=1), hits, 15).ece()
    times = {name: [] for name in processes}
    for _ in range(7):
        for name, measure in processes.items():
            seconds, found = measure()
            times[name].append(seconds)
            # torchmetrics sums in float32.
            assert abs(found - exact) < (1e-3 if name in peers else 1e-6), (name, found)
    for process in processes.values():
        process.close()
    best = min(peers, key=lambda name: statistics.median(times[name]))
    found = ratios(times, best)
    goals = {"graph": 1.0, "XLA": 0.85}
    for name in (name for name in found if name not in peers):
        ours, theirs = (min(times[k]) / stream.SAMPLES * 1e9 for k in (name, best))
        note = f"peer: {best}; {ours:.0f} against {theirs:.0f} ns per sample"
        row = f"ECE of 4e6 x 10, {name} / torchmetrics"
        yield Row(row, found[name], goals.get(name), note)


def _memory() -> Iterator[Row]:
    """Yields the ratio of resident memory after 1000 batches to that after 100."""
    metric = ExpectedCalibrationError()
    y, p = stream.samples(stream.BATCH)
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
    y, p = map(keras.ops.convert_to_tensor, stream.samples(stream.BATCH))
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

    y, p = map(keras.ops.convert_to_tensor, stream.samples(stream.BATCH))
    checked, unchecked = (
        _update(metric(), jit_compile),
        _update(Unchecked(), jit_compile),
    )
    calls = {"with": lambda: checked(y, p), "without": lambda: unchecked(y, p)}
    found = ratios(interleaved(calls, 400), "without")
    name = f"{metric.__name__}, {mode}: with checks / without"
    return Row(name, found["with"], 1.1)
