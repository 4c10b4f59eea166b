"""A linear head and its loss in chunks, compared with the loss of all logits.

Value and gradients of 2048 tokens, 256 hidden units and a vocabulary of 32000, in
float32; on JAX with an accelerator of the sizes of a large language model, in bfloat16.
Memory is what a step takes beside its arguments and gradients: on JAX the temporaries
of the compiled program, elsewhere the growth of a process to its peak,

    python -m benchmarks.head FORM NAME

which answers each line on its standard input with the megabytes of one more step.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
from keras import ops

from benchmarks.timing import Process, Row, interleaved, on_accelerator, ratios
from keras_calib.losses import FocalCE, GammaCE, LabelSmoothingCE, linear_loss
from keras_calib.ops.token_statistics import FIGURES

BACKENDS = ("jax", "tensorflow", "torch")
TOKENS, HIDDEN, VOCABULARY, DTYPE, CHUNKS = (
    (16384, 4096, 128256, "bfloat16", (2048, 4096))
    if on_accelerator()
    else (2048, 256, 32000, "float32", (240, 480))
)

# Goals for time and memory beside all logits at once, by form and chunk.
GOALS = {
    ("jit", 240): (1.0, 0.125),
    ("jit", 480): (0.95, 0.25),
    ("graph", 480): (1.0, 0.4),
    ("XLA", 240): (1.25, 0.25),
    ("jit", 4096): (None, 1 / 3),
}
# What holds all logits, with the goals for time beside it.
PEERS = {"GammaCE": None, "linear_cross_entropy": 1.1}
PEERS |= {"optax": 1.03} if on_accelerator() else {"Keras's cross-entropy": 0.9}

# What metrics read of each token.
SEEN = {
    "what ECE reads": ("log_probability", "confidence", "hit"),
    "all statistics": FIGURES,
}

# Other losses, on torch alone, whose own head has cross-entropy alone.
OTHERS = {"FocalCE": FocalCE, "LabelSmoothingCE": LabelSmoothingCE}


def rows() -> Iterator[Row]:
    """Yields times and memory of each form, by the size of the chunks."""
    last = _chunked(CHUNKS[-1])
    for form, compiled in FORMS[keras.backend.backend()].items():
        calls = {name: compiled(loss) for name, loss in losses().items()}
        times = interleaved(calls, rounds=20)
        for chunk in CHUNKS:
            name, goals = _chunked(chunk), GOALS.get((form, chunk), (None, None))
            where = f"GammaCE in {name}, {form}"
            for peer in PEERS.keys() & times.keys():
                ratio = ratios(times, peer)[name]
                goal = goals[0] if peer == "GammaCE" else PEERS[peer]
                yield Row(f"{where}: time", ratio, goal, f"peer: {peer}")
            peer = "optax" if on_accelerator() else "GammaCE"
            megabytes = memory(form, name), memory(form, peer)
            note = "peer: {}; {:.0f} of {:.0f} MB".format(peer, *megabytes)
            yield Row(f"{where}: memory", megabytes[0] / megabytes[1], goals[1], note)
        for other in OTHERS.keys() & times.keys():
            name, ratio = f"{other}, {form}: time", ratios(times, last)[other]
            yield Row(name, ratio, 1.10, f"peer: GammaCE in {last}")
        for seen in SEEN:
            name, ratio = f"GammaCE and {seen}, {form}: time", ratios(times, last)[seen]
            yield Row(name, ratio, 1.03, f"peer: GammaCE in {last}")


@functools.cache
def arrays() -> list:
    """Returns labels, hidden states and kernel."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, VOCABULARY, TOKENS, "int32")
    h = rng.standard_normal((TOKENS, HIDDEN), "float32")
    w = 0.05 * rng.standard_normal((HIDDEN, VOCABULARY), "float32")
    return [ops.convert_to_tensor(y), *(ops.cast(x, DTYPE) for x in (h, w))]


def losses() -> dict[str, Callable]:
    """Returns functions of labels, hidden states and kernel by name."""
    gamma = GammaCE(0.1, from_logits=True)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def chunked(size: int, loss: keras.losses.Loss = gamma) -> Callable:
        return lambda y, h, w: linear_loss(loss, y, h, w, chunk_size=size)

    def with_statistics(names):
        def loss(y, h, w):
            how = {"chunk_size": CHUNKS[-1], "return_statistics": names}
            value, found = linear_loss(gamma, y, h, w, **how)
            # Or a compiler would drop them.
            return value + 1e-30 * sum(ops.sum(getattr(found, name)) for name in names)

        return loss

    found = {
        "GammaCE": lambda y, h, w: gamma(y, ops.matmul(h, w)),
        **{_chunked(size): chunked(size) for size in CHUNKS},
        **{seen: with_statistics(names) for seen, names in SEEN.items()},
    }
    if on_accelerator():
        found["optax"] = _of_optax
    else:
        found["Keras's cross-entropy"] = lambda y, h, w: cross_entropy(
            y, ops.matmul(h, w)
        )
    if keras.backend.backend() == "torch":
        found["linear_cross_entropy"] = _of_torch
        for name, make in OTHERS.items():
            found[name] = chunked(CHUNKS[-1], make(from_logits=True))
    return found


def _chunked(size: int) -> str:
    return f"chunks of {size}"


def _of_optax(y, h, w):
    import optax

    logits = ops.cast(ops.matmul(h, w), "float32")
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return ops.mean(losses)


def _of_torch(y, h, w):
    import torch

    options = torch.nn.LinearCrossEntropyOptions()
    of = torch.nn.functional.linear_cross_entropy
    return of(h, w.T, y.long(), options=options)


def _jax(loss: Callable) -> Callable:
    import jax

    step = jax.jit(jax.value_and_grad(loss, (1, 2))).lower(*arrays()).compile()
    return lambda: jax.block_until_ready(step(*arrays()))


def _tensorflow(loss: Callable, xla: bool) -> Callable:
    import tensorflow as tf

    @tf.function(jit_compile=xla)
    def step(y, *x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(y, *x)
        return value, *tape.gradient(value, x)

    # Asking for the value waits for the step.
    return lambda: [float(x[..., :1, :1].numpy().sum()) for x in step(*arrays())[1:]]


def _torch(loss: Callable) -> Callable:
    def step():
        y, *x = arrays()
        x = [a.detach().requires_grad_() for a in x]
        loss(y, *x).backward()

    return step


FORMS = {
    "jax": {"jit": _jax},
    "tensorflow": {
        "graph": functools.partial(_tensorflow, xla=False),
        "XLA": functools.partial(_tensorflow, xla=True),
    },
    "torch": {"eager": _torch},
}


def memory(form: str, name: str) -> float:
    """Returns the megabytes that a step takes beside its arguments and gradients."""
    if form == "jit":
        import jax

        step = jax.jit(jax.value_and_grad(losses()[name], (1, 2)))
        found = step.lower(*arrays()).compile().memory_analysis()
        return found.temp_size_in_bytes / 1e6
    # oneDNN keeps buffers, and malloc keeps blocks that are smaller than this.
    os.environ |= {"TF_ENABLE_ONEDNN_OPTS": "0", "MALLOC_MMAP_THRESHOLD_": "1000000"}
    process = Process("benchmarks.head", form, name)
    (megabytes,) = process()
    process.close()
    return megabytes


def main(form: str, name: str) -> None:
    """Prints by how much a step raises the peak of resident memory, line by line."""
    step = FORMS[keras.backend.backend()][form](losses()[name])
    step()
    print("ready", flush=True)
    gradients = sum(4 * x.shape[0] * x.shape[1] for x in arrays()[1:]) / 1e6
    for _ in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _resident("VmRSS")
        step()
        print(_resident("VmHWM") - before - gradients, flush=True)


def _resident(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if name in line)


if __name__ == "__main__":
    main(*sys.argv[1:])
