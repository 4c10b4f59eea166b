"""A vocabulary that is split over devices: each keeps its part of the kernel."""

import json
import os
import subprocess
import sys

from tests.backends import jax_only
from tests.distribution.launch import ROOT

CODE = """
import json, re, jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from keras_calib.losses import GammaCE, linear_loss

mesh, rng = Mesh(jax.devices(), "v"), np.random.default_rng(0)
loss = GammaCE(0.1, from_logits=True)
y = rng.integers(0, 4000, 256).astype("int32")
h, w = (rng.normal(size=s).astype("float32") for s in ((256, 32), (32, 4000)))
def f(h, w):
    return linear_loss(loss, y, h, w, chunk_size=64)
def dense(h, w):
    return loss(y, h @ w)
split = jax.device_put(w, NamedSharding(mesh, P(None, "v")))
step = jax.jit(jax.value_and_grad(f, (0, 1))).lower(h, split).compile()
expected = jax.value_and_grad(dense, (0, 1))(h, w)
pairs = zip(*map(jax.tree.leaves, (step(h, split), expected)))
print(json.dumps({
    "found": sorted(set(re.findall(r"(all-\\w+)\\(", step.as_text()))),
    "error": max(float(abs(a - b).max() / abs(b).max()) for a, b in pairs),
    "devices": len(mesh.devices),
}))
"""


@jax_only
def test_no_kernel_and_no_logits_are_gathered():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, **flags},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 4 and found["error"] < 5e-6
    assert found["found"] == ["all-reduce"]
