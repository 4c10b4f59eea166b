"""GammaCE at a language model's vocabulary, against optax and the memory itself.

On JAX alone; nothing but keras, jax and optax has to be installed.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import optax

from benchmarks.timing import Row, interleaved, ratios
from keras_calib import GammaCE

BACKENDS = ("jax",)
VOCABULARY = 128256
TOKENS = {"gpu": 8192, "cpu": 256}  # 4.2 and .13 GB of logits in float32


def rows() -> Iterator[Row]:
    """Yields the time of value and gradient to optax's, and to that of a copy.

    A copy reads and writes as much as a loss must that reads its logits once. One
    that reads them twice, for the normaliser and for the gradient, takes 1.5 copies
    where memory is the limit; so the limit's share that was reached is that number
    by the ratio.
    """
    tokens = TOKENS[jax.default_backend()]
    for dtype in ("float32", "bfloat16"):
        times = interleaved(_contenders(tokens, dtype), rounds=20)
        size = f"({tokens}, {VOCABULARY}) {dtype}"
        peer, copy = (ratios(times, name)["ours"] for name in ("optax", "copy"))
        yield Row(f"GammaCE(0.1) {size}", peer, note="peer: optax's cross-entropy")
        note = f"peer: a copy; {1 / copy:.0%} of the limit if read once"
        yield Row(f"GammaCE(0.1) {size}", copy, note=f"{note}, {1.5 / copy:.0%} twice")


def _contenders(tokens: int, dtype: str) -> dict:
    keys = jax.random.split(jax.random.key(0))
    z = jax.random.normal(keys[0], (tokens, VOCABULARY), dtype)
    y = jax.random.randint(keys[1], (tokens,), 0, VOCABULARY)
    ours = GammaCE(0.1, from_logits=True)  # in float32, whatever the logits

    def peer(y, z):
        losses = optax.softmax_cross_entropy_with_integer_labels(z, y)
        return jnp.mean(losses)

    def call(function):
        return lambda: jax.block_until_ready(function(y, z))

    return {
        "ours": call(jax.jit(jax.value_and_grad(lambda y, z: ours(y, z), argnums=1))),
        "optax": call(jax.jit(jax.value_and_grad(peer, argnums=1))),
        "copy": call(jax.jit(lambda y, z: -z)),
    }
