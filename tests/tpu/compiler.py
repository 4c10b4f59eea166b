"""Compiles programs with the TPU compiler of libtpu, which needs no TPU.

    python -m tests.tpu.compiler v5e:2x2 FILE ...

__main__.py runs it in a process for each topology, with the files of TensorFlow's
programs. It lowers those of JAX itself.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

# Without these, libtpu would look for a TPU, query a cloud server, and lock the TPU.
os.environ |= {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
    "KERAS_BACKEND": "jax",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}

import jax
import numpy as np
from jax._src.interpreters import mlir
from jax._src.lib import _jax, xla_client
from jax.errors import JaxRuntimeError
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from jaxlib.mlir import ir

from tests.tpu.ratios import ROWS, Program


def compile_for(device, program: bytes):
    """Returns the executable of an HLO program for one chip."""
    computation = xla_client.XlaComputation(program)
    options = xla_client.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    options.device_assignment = xla_client.DeviceAssignment.create(
        np.array([[device.id]], np.int32)
    )
    with mlir.make_ir_context():
        module = ir.Module.parse(_jax.mlir.xla_computation_to_mlir_module(computation))
        _drop_copies(module.operation)
        return device.client.compile(
            module,
            executable_devices=xla_client.DeviceList((device,)),
            compile_options=options,
        )


def _drop_copies(operation) -> None:
    """Removes mhlo.copy, with which TensorFlow returns the value of a variable.

    It is not StableHLO, and does nothing: the compiler makes the copies it needs.
    """
    blocks = [block for region in operation.regions for block in region]
    for inner in [inner.operation for block in blocks for inner in block.operations]:
        _drop_copies(inner)
        if inner.name == "mhlo.copy":
            inner.results[0].replace_all_uses_with(inner.operands[0])
            inner.erase()


def costs(executable) -> dict[str, float]:
    """Returns the operations of a program, and the bytes that they read and write."""
    found = executable.cost_analysis()
    found = found[0] if isinstance(found, list) else found
    return {"flops": found.get("flops", 0.0), "bytes": found["bytes accessed"]}


@functools.cache  # of a peer that several rows have
def jax_costs(device, create: Callable[[], Program]) -> dict[str, float]:
    """Returns the same of a program that JAX lowers."""
    function, arguments = create()
    there = SingleDeviceSharding(device)
    on_device = jax.tree.map(lambda x: x.update(sharding=there), arguments)
    return costs(jax.jit(function).lower(*on_device).compile())


def main(topology: str, files: list[str]) -> None:
    """Prints a line of JSON for each program: its costs or its error."""
    device = topologies.get_topology_desc(
        platform="tpu", topology_name=topology
    ).devices[0]
    for path in map(Path, files):
        try:
            executable = compile_for(device, path.read_bytes())
        except JaxRuntimeError as error:
            found = {"error": str(error)}
        else:
            memory = executable.get_compiled_memory_stats()
            found = {
                **costs(executable),
                "temporaries": memory.temp_size_in_bytes,
                "arguments": memory.argument_size_in_bytes,
            }
        print(json.dumps({"name": path.stem, **found}), flush=True)
    for name, (ours, peer, limit) in ROWS.items():
        found = {
            "ours": jax_costs(device, ours),
            "peer": jax_costs(device, peer),
            "limit": limit,
        }
        print(json.dumps({"name": name, **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
