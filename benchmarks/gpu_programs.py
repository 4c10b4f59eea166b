"""Kernels and memory of programs that XLA compiles for an NVIDIA H100, without one.

    pip install "jax[cuda12]"; python -m benchmarks.gpu_programs

Nothing runs, so nothing is timed: the table says how many kernels a program launches,
and how many bytes they read and write. A gather counts as if it read all it could.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ |= {
    "KERAS_BACKEND": "jax",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",  # of the device that is not there
    "XLA_FLAGS": "--xla_gpu_autotune_level=0",  # which would time kernels on it
}

import jax
from jax._src import xla_bridge
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from tests.tpu.ratios import IMAGES, PIXELS, TOPS, Program, gradient, update

# What XLA asks a device for.
H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  clock_rate_ghz: 1.98
  memory_bandwidth: 3352320000000
  device_memory_size: 84929347584
  l2_cache_size: 52428800
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
runtime_version { major: 12 minor: 9 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""

# Instructions that are no kernels.
NAMES_ONLY = {"parameter", "tuple", "get-tuple-element", "bitcast", "constant"}
INSTRUCTION = re.compile(r"\s*(?:ROOT )?(%\S+) = (\(.*?\)|\S+) (\S+?)\((.*?)\)")
BITS = re.compile(r"(?:[a-z]+(\d+)|pred)\[([\d,]*)\]")


def compiled(device: Any, function: Callable, arguments: list) -> Any:
    """Returns the executable of a function of shapes for a device."""
    here = SingleDeviceSharding(device)

    def placed(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here)

    return jax.jit(function).lower(*jax.tree.map(placed, arguments)).compile()


def kernels(executable: Any) -> tuple[int, float]:
    """Returns how many kernels a program launches, and the bytes that they move."""
    text = executable.as_text()
    entry = text[text.index("\nENTRY") :]
    sizes: dict[str, float] = {}
    count, moved = 0, 0.0
    for line in entry[: entry.index("\n}")].splitlines():
        if (found := INSTRUCTION.match(line)) is None:
            continue
        name, kind, operation, operands = found.groups()
        sizes[name] = _bytes(kind)
        if operation not in NAMES_ONLY:
            read = (sizes.get(x.split()[-1], 0.0) for x in operands.split(",") if x)
            count, moved = count + 1, moved + sizes[name] + sum(read)
    return count, moved


def _bytes(kind: str) -> float:
    return sum(
        int(bits or 8) / 8 * math.prod(map(int, filter(None, axes.split(","))))
        for bits, axes in BITS.findall(kind)
    )


def programs() -> dict[str, Callable[[], Program]]:
    """Returns what creates each program, under its name in the table."""
    import keras

    from keras_calib import (
        BrierScore,
        CalibrationMetrics,
        ExpectedCalibrationError,
        GammaCE,
    )
    from keras_calib.metrics import NegativeLogLikelihood

    found: dict[str, Callable[[], Program]] = {}
    cross_entropy = keras.losses.SparseCategoricalCrossentropy
    for dtype in ("float32", "bfloat16"):
        for name, loss in (
            ("Keras's cross-entropy", cross_entropy(from_logits=True)),
            ("GammaCE", GammaCE(0.1, from_logits=True)),
        ):
            row = f"{name}, value and gradient, (8192, 128256) {dtype}"
            found[row] = partial(gradient, loss, dtype)
    for size in (IMAGES, PIXELS):
        found[f"maximum and argmax, {size}"] = TOPS[size]
        for metric in (
            ExpectedCalibrationError,
            BrierScore,
            NegativeLogLikelihood,
            CalibrationMetrics,
        ):
            row = f"{metric.__name__}, update, {size}"
            found[row] = partial(update, metric(from_logits=True), size)
    return found


def main() -> None:
    """Prints the table."""
    # Without a device JAX does not know that a GPU is CUDA's.
    xla_bridge.canonicalize_platform = lambda platform: (
        "cuda" if platform in ("cuda", "gpu") else platform
    )
    device = topologies.get_topology_desc(
        platform="cuda", target_config=H100, topology="1x1x1"
    ).devices[0]
    print(
        f"NVIDIA H100, compiled by jax {jax.__version__} on a machine without a GPU\n"
    )
    print(f"{'':64}kernels        MB  MB temp.")
    for name, make in programs().items():
        function, arguments = make()
        executable = compiled(device, function, arguments)
        count, moved = kernels(executable)
        temporary = executable.memory_analysis().temp_size_in_bytes
        print(
            f"{name:64}{count:7}{moved / 1e6:10.1f}{temporary / 1e6:10.1f}", flush=True
        )


if __name__ == "__main__":
    main()
