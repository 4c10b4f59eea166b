"""GammaCE with a language model's vocabulary, compared with optax and a plain copy.

This runs only on JAX, and needs only keras, jax and optax.
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
    """Yields the ratios of value and gradient to optax's, and to a copy.

    A copy reads and writes as much as a loss that reads its logits once. A loss that
    reads them twice, for the normalizer and for the gradient, takes as long as 1.5
    copies if memory is the limit. So 1 or 1.5 divided by the ratio to a copy is the
    fraction of the limit that was reached.
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
    ours = GammaCE(0.1, from_logits=True)  # computes in float32 for any logits

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
