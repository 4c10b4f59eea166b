"""Compiles what Keras would run on a TPU with the TPU's own compiler, without a TPU.

    make tpu-check   # or, with jax[tpu]==0.10.2 beside TensorFlow: python -m tests.tpu
    make tpu-check TPUS=v6e:2x2

For all kinds of TPU below, or those that are named, it prints what each program costs
on one chip, or why the compiler rejected it, and then what losses and metrics move on
JAX beside their peers. The exit status is 1 if a program is rejected that should
compile, or compiles although it should be rejected, or moves more than ratios.py
allows. Nothing runs, so it tells neither speed nor results.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.tpu.report import HEADER, RATIOS, compare, judge

TOPOLOGIES = ("v5e:2x2", "v6e:2x2")


def main(topologies: Sequence[str] = TOPOLOGIES) -> int:
    """Prints the table; returns the exit status."""
    os.environ |= {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from tests.tpu.programs import LIMITS, ONLY_FOR, PROGRAMS

    ratios: list[str] = []

    def report(name: str, found: dict, where: str) -> bool:
        if "peer" in found:
            right, row = compare(f"{name}, {where}", **found)
            ratios.append(row)
        else:
            refusal, limit = PROGRAMS[name][1], LIMITS.get(name)
            right, row = judge(f"{name}, {where}", found, refusal, limit)
            print(row, flush=True)
        return right

    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        lower(list(PROGRAMS), folder)
        right = [
            report(path.stem, {"error": path.read_text()}, "TensorFlow")
            for path in Path(folder).glob("*.error")
        ]
        paths = [p for name in PROGRAMS if (p := Path(folder, f"{name}.hlo")).exists()]
        kinds = {
            kind: [p for p in paths if ONLY_FOR.get(p.stem, kind) == kind]
            for kind in topologies
        }
        with ThreadPoolExecutor() as pool:
            for rows in pool.map(partial(compiled, report), kinds, kinds.values()):
                right += rows
    print(RATIOS, *sorted(ratios), sep="\n")
    return int(not all(right))


def lower(names: list[str], folder: str) -> None:
    """Writes the programs into the folder, in two processes."""
    halves = [names[::2], names[1::2]]
    command = [sys.executable, "-m", "tests.tpu.programs", folder]
    processes = [subprocess.Popen(command + half) for half in halves]
    if any([process.wait() for process in processes]):
        sys.exit("Keras or TensorFlow could not trace a program: see above")


def compiled(report, topology: str, paths: list[Path]) -> list[bool]:
    """Compiles programs for a kind of TPU; returns whether each result is expected."""
    command = [sys.executable, "-m", "tests.tpu.compiler", topology, *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        found = map(json.loads, process.stdout)
        right = [report(line.pop("name"), line, topology) for line in found]
    if process.returncode:
        sys.exit(f"the compiler for {topology} ended with {process.returncode}")
    return right


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or TOPOLOGIES))
