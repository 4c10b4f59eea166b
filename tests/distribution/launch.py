"""Runs a module in one process, or in several that form a cluster."""

import functools
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]


def outputs(module, *arguments, processes=1, timeout=1200, **environment):
    """Returns the exit status, the output and the errors of each process.

    Args:
        module: the module to run.
        *arguments: the arguments of the module.
        processes: how many processes run it. TF_CONFIG and JAX_JOB (address of the
            first process, number of processes, rank) tell each about the others.
        timeout: seconds until they are killed.
        **environment: more environment variables.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(processes)]
    running = []
    for rank in range(processes):
        task = {"type": "worker", "index": rank}
        cluster = {"cluster": {"worker": addresses}, "task": task}
        job = {
            "TF_CONFIG": json.dumps(cluster),
            "JAX_JOB": json.dumps([addresses[0], processes, rank]),
        }
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "KERAS_BACKEND": "tensorflow",
                    **(job if processes > 1 else {}),
                    **environment,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        with ThreadPoolExecutor(processes) as pool:  # a full pipe would block them all
            read = pool.map(lambda p: p.communicate(timeout=timeout), running)
            texts = list(read)
    finally:
        for process in running:
            process.kill()
    return [(p.returncode, *text) for p, text in zip(running, texts, strict=True)]


def free_ports(number):
    """Returns ports of 127.0.0.1 that no process listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@functools.cache
def mirrored(replicas):
    """Returns a MirroredStrategy on logical CPUs, which a process can create once."""
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * replicas,
    )
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
