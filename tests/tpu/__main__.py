"""Compiles what Keras would run on a TPU with the TPU's own compiler; needs no TPU.

    python -m tests.tpu   # with jax[tpu]==0.10.2 beside TensorFlow

For two kinds of TPU it prints what each program costs on one chip and which must be
refused and are. A program that is refused and should not be, or is not and should
be, makes the exit status 1. It says nothing of speed or of figures: nothing runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.tpu.report import HEADER, judge

TOPOLOGIES = ("v5e:2x2", "v6e:2x2")


def main() -> int:
    """Prints the table; returns the exit status."""
    sys.stdout.reconfigure(line_buffering=True)
    os.environ |= {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from tests.tpu.programs import PROGRAMS

    failed = 0
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        lower(list(PROGRAMS), folder)
        paths = sorted(Path(folder).glob("*.hlo"))
        compilers = {t: compiler(t, paths) for t in TOPOLOGIES}
        for topology, process in compilers.items():
            output, errors = process.communicate()
            if process.returncode:
                sys.exit(errors)
            lines = map(json.loads, output.splitlines())
            found = {line["name"]: line for line in lines}
            for path in Path(folder).glob("*.error"):
                found[path.stem] = {"error": path.read_text()}
            for name, (_, refusal) in PROGRAMS.items():
                right, row = judge(f"{name}, {topology}", found[name], refusal)
                failed += not right
                print(row)
    return int(failed > 0)


def lower(names: list[str], folder: str) -> None:
    """Writes the programs into the folder, two processes sharing the work."""
    halves = [names[::2], names[1::2]]
    command = [sys.executable, "-m", "tests.tpu.programs", folder]
    processes = [subprocess.Popen(command + half) for half in halves]
    if any([process.wait() for process in processes]):
        sys.exit("Keras or TensorFlow could not trace a program: see above")


def compiler(topology: str, paths: list[Path]) -> subprocess.Popen:
    """Returns a process that compiles the programs for a kind of TPU."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tpu.compiler", topology, *map(str, paths)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


if __name__ == "__main__":
    sys.exit(main())
