"""Prints every benchmark: `python -m benchmarks`, or some: `... losses`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks
from benchmarks.timing import HEADER

SUPPORT = {"__main__", "timing"}


def main() -> None:
    """Runs the modules named on the command line, or all."""
    found = [m.name for m in pkgutil.iter_modules(benchmarks.__path__)]
    chosen = sys.argv[1:] or [name for name in found if name not in SUPPORT]
    print(HEADER)
    for name in chosen:
        for row in importlib.import_module(f"benchmarks.{name}").rows():
            print(row, flush=True)


if __name__ == "__main__":
    main()
