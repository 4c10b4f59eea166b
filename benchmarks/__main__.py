"""Runs all benchmarks, `python -m benchmarks`, or those named: `... losses`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import keras

import benchmarks
from benchmarks.timing import HEADER, machine

SUPPORT = {"__main__", "gpu_programs", "stream", "timing"}


def main() -> None:
    """Runs the modules named on the command line, or all that the backend supports."""
    found = [m.name for m in pkgutil.iter_modules(benchmarks.__path__)]
    chosen = sys.argv[1:] or [name for name in found if name not in SUPPORT]
    print(f"{machine()}\n\n{HEADER}")
    for name in chosen:
        try:
            module = importlib.import_module(f"benchmarks.{name}")
        except ImportError as error:
            print(f"{name}: skipped, {error.name} is not installed")
            continue
        if keras.backend.backend() not in module.BACKENDS:
            print(f"{name}: skipped, needs {' or '.join(module.BACKENDS)}")
            continue
        for row in module.rows():
            print(row, flush=True)


if __name__ == "__main__":
    main()
