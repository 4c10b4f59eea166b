"""Compare the times of functions on a machine whose speed drifts."""

from __future__ import annotations

import importlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras


class Row(NamedTuple):
    """A line of the table."""

    name: str
    ratio: float
    goal: float | None = None
    note: str = ""

    def __str__(self) -> str:
        goal = "" if self.goal is None else f"{self.goal:.2f}"
        verdict = "" if self.goal is None or self.ratio <= self.goal else "over"
        return f"{self.name:<58} {self.ratio:>6.2f} {goal:>6} {verdict:<5} {self.note}"


def on_accelerator() -> bool:
    """Says whether JAX has an accelerator; elsewhere the benchmarks run on a CPU."""
    if keras.backend.backend() != "jax":
        return False
    return bool(importlib.import_module("jax").default_backend() != "cpu")


def machine() -> str:
    """Returns the names and versions of the device, the backend and Keras."""
    backend = importlib.import_module(keras.backend.backend())
    device = f"{_processor()}, {os.cpu_count()} cores"
    if backend.__name__ == "jax" and backend.default_backend() != "cpu":
        device = backend.devices()[0].device_kind
    return (
        f"{device}; {backend.__name__} {backend.__version__}, keras {keras.__version__}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(": ")[2] for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


HEADER = f"{'':<58} {'ratio':>6} {'goal':>6}"


def interleaved(
    functions: dict[str, Callable[[], object]], rounds: int = 30, warm_up: int = 3
) -> dict[str, list[float]]:
    """Calls the functions in turn, round by round, and returns seconds by name."""
    if rounds < 20:
        raise ValueError(f"rounds must be at least 20. Received: {rounds}")
    times: dict[str, list[float]] = {name: [] for name in functions}
    for i in range(warm_up + rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if i >= warm_up:
                times[name].append(time.perf_counter() - start)
    return times


class Process:
    """A module that measures in a process of its own, with its own threads.

    It prints a line when it is ready, and another, of numbers, for each line it reads.
    Meanwhile it waits, so that processes that are asked in turn are interleaved.

    Args:
        module: the module, which may be run.
        *arguments: its arguments.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = bool(self._process.stdout.readline())

    def __call__(self) -> list[float]:
        """Returns what one measurement prints."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return [float(word) for word in self._process.stdout.readline().split()]

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def ratios(times: dict[str, list[float]], peer: str) -> dict[str, float]:
    """Returns the median over rounds of the ratio of each time to the peer's."""
    return {
        name: statistics.median(
            t / p for t, p in zip(seconds, times[peer], strict=True)
        )
        for name, seconds in times.items()
    }
