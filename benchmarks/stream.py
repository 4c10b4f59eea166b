"""ECE of 4 million samples in batches, by one library, in a process of its own.

    python -m benchmarks.stream NAME   # of `STREAMS`

TensorFlow and torch never share a process: each would wait for the threads of the
other. For each line on its standard input, a process measures the whole stream once,
and answers with the seconds and the error found.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

BATCH, NUM_CLASSES, SAMPLES = 8192, 10, 488 * 8192


def samples(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels as int32, and probabilities."""
    rng = np.random.default_rng(0)
    p = rng.random((count, NUM_CLASSES), dtype="float32") ** 4
    p /= p.sum(axis=1, keepdims=True)
    return rng.integers(0, NUM_CLASSES, count, dtype="int32"), p


def torchmetrics_stream(threads: int | None = None) -> Callable[[], float]:
    """Returns the stream of torchmetrics, with int64 labels and without its checks.

    Other labels take it many times as long.
    """
    import torch
    from torchmetrics.classification import MulticlassCalibrationError

    torch.set_num_threads(threads or torch.get_num_threads())
    y, p = map(torch.from_numpy, samples(SAMPLES))
    batches = list(zip(y.long().split(BATCH), p.split(BATCH), strict=True))
    metric = MulticlassCalibrationError(NUM_CLASSES, n_bins=15, validate_args=False)

    def run() -> float:
        metric.reset()
        for labels, probabilities in batches:
            metric.update(probabilities, labels)
        return float(metric.compute())

    return run


def our_stream(jit_compile: bool, as_tensors: bool) -> Callable[[], float]:
    """Returns ours: one compiled call a batch."""
    import tensorflow as tf

    from keras_calib import ExpectedCalibrationError

    y, p = samples(SAMPLES)
    batches = [(y[i : i + BATCH], p[i : i + BATCH]) for i in range(0, SAMPLES, BATCH)]
    if as_tensors:
        batches = [tuple(map(tf.constant, batch)) for batch in batches]
    metric = ExpectedCalibrationError()
    update = tf.function(metric.update_state, jit_compile=jit_compile)

    def run() -> float:
        metric.reset_state()
        for batch in batches:
            update(*batch)
        return float(metric.result())

    return run


STREAMS = {
    "torchmetrics": torchmetrics_stream,
    # Where others use the cores, too, its threads wait for each other.
    "torchmetrics, one thread": lambda: torchmetrics_stream(threads=1),
    "graph": lambda: our_stream(jit_compile=False, as_tensors=True),
    "XLA": lambda: our_stream(jit_compile=True, as_tensors=True),
    "graph, from numpy": lambda: our_stream(jit_compile=False, as_tensors=False),
    "XLA, from numpy": lambda: our_stream(jit_compile=True, as_tensors=False),
}


def main(name: str) -> None:
    """Measures the stream for each line that is read."""
    run = STREAMS[name]()
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        found = run()
        print(time.perf_counter() - start, found, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
