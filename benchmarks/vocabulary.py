"""GammaCE with a language model's vocabulary, compared with the best peer and a copy.

On JAX the peer is optax's cross-entropy, on torch `torch.nn.functional.cross_entropy`,
run eagerly. It needs only keras, the backend, and optax on JAX.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import keras

from benchmarks.timing import Row, interleaved, ratios
from keras_calib import losses

BACKENDS = ("jax", "torch")
VOCABULARY = 128256
TOKENS = {True: 8192, False: 256}  # with a GPU; 4.2 and .13 GB of logits in float32

# GammaCE's goal in time on a GPU; the other losses are of interest only.
GOALS = {"jax": {"float32": 0.8, "bfloat16": 1.03}, "torch": {"float32": 1.5}}
LOSSES: dict[str, Callable[[], keras.losses.Loss]] = {
    "GammaCE(0.1)": lambda: losses.GammaCE(0.1, from_logits=True),
    "FocalCE(2)": lambda: losses.FocalCE(2.0, from_logits=True),
    "LabelSmoothingCE(0.1)": lambda: losses.LabelSmoothingCE(0.1, from_logits=True),
}


def rows() -> Iterator[Row]:
    """Yields the ratios of value and gradient to the peer's, and GammaCE's to a copy.

    A copy reads and writes as much as a loss that reads its logits once. A loss that
    reads them twice, for the normalizer and for the gradient, takes as long as 1.5
    copies if memory is the limit. So 1 or 1.5 divided by the ratio to a copy is the
    fraction of the limit that was reached.
    """
    backend = keras.backend.backend()
    contenders = {"jax": _jax, "torch": _torch}[backend]
    for dtype in ("float32", "bfloat16"):
        tokens, memory, calls = contenders(dtype)
        times = interleaved(calls, rounds=20)
        to_peer, to_copy = ratios(times, "peer"), ratios(times, "copy")
        size = f"({tokens}, {VOCABULARY}) {dtype}"
        for name in LOSSES:
            goal = None
            if name == "GammaCE(0.1)" and tokens == TOKENS[True]:
                goal = GOALS[backend].get(dtype)
            note = f"{memory[name]:.2f} GB of memory, the peer {memory['peer']:.2f}"
            yield Row(f"{name} {size}", to_peer[name], goal, note)
        copies = to_copy["GammaCE(0.1)"]
        note = f"to a copy; {1 / copies:.0%} of the limit if read once"
        note = f"{note}, {1.5 / copies:.0%} twice"
        yield Row(f"GammaCE(0.1) {size}", copies, note=note)


def _jax(dtype: str) -> tuple[int, dict[str, float], dict[str, Callable]]:
    import jax
    import jax.numpy as jnp
    import optax

    tokens = TOKENS[jax.default_backend() == "gpu"]
    keys = jax.random.split(jax.random.key(0))
    z = jax.random.normal(keys[0], (tokens, VOCABULARY), dtype)
    y = jax.random.randint(keys[1], (tokens,), 0, VOCABULARY)

    def peer(y, z):
        losses = optax.softmax_cross_entropy_with_integer_labels(z, y)
        return jnp.mean(losses)

    functions = {"peer": peer} | {name: make() for name, make in LOSSES.items()}
    steps = {
        name: jax.jit(jax.value_and_grad(function, argnums=1))
        for name, function in functions.items()
    }
    steps["copy"] = jax.jit(lambda y, z: -z)
    compiled = {name: step.lower(y, z).compile() for name, step in steps.items()}
    memory = {
        name: step.memory_analysis().temp_size_in_bytes / 1e9
        for name, step in compiled.items()
    }

    def call(step):
        return lambda: jax.block_until_ready(step(y, z))

    return tokens, memory, {name: call(step) for name, step in compiled.items()}


def _torch(dtype: str) -> tuple[int, dict[str, float], dict[str, Callable]]:
    import torch

    gpu = torch.cuda.is_available()
    device, tokens = "cuda" if gpu else "cpu", TOKENS[gpu]
    z = torch.randn(tokens, VOCABULARY, device=device, dtype=getattr(torch, dtype))
    z.requires_grad_()
    y = torch.randint(0, VOCABULARY, (tokens,), device=device)

    def wait():
        if gpu:
            torch.cuda.synchronize()

    def call(loss):
        def step():
            z.grad = None
            loss(y, z).backward()
            wait()

        return step

    def copy():
        z.grad = None
        copied = -z.detach()
        wait()
        return copied

    def extra(step):
        z.grad = None
        if not gpu:
            return float("nan")
        step()
        z.grad = None
        gc.collect()  # a step's closures hold tensors in cycles
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 1e9

    def peer(y, z):
        return torch.nn.functional.cross_entropy(z, y)

    calls = {"peer": call(peer)} | {name: call(make()) for name, make in LOSSES.items()}
    memory = {name: extra(step) for name, step in calls.items()}
    return tokens, memory, calls | {"copy": copy}
