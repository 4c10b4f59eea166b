"""One device and two train a bfloat16 model to the last gamma, with finite numbers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import tensorflow_only

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@tensorflow_only
@pytest.mark.parametrize("strategy", ["one", "mirrored"])
def test_a_quick_run_prints_the_table(strategy):
    done = subprocess.run(
        [sys.executable, "examples/tpu.py", "--strategy", strategy, "--quick"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    names, *rows = (line.split() for line in done.stdout.splitlines())
    found = {
        row: dict(zip(names, map(float, figures), strict=True))
        for row, *figures in rows
    }
    assert list(found) == ["1", "2", "3", "test"]
    gammas = [row["gamma"] for row in found.values()]
    # Each epoch has ten of the steps 0 ... 29: these are its last.
    assert gammas == pytest.approx([0.1 * 9 / 29, 0.1 * 19 / 29, 0.1, 0.1], abs=1e-4)
    # NaN or infinity would fail these too.
    assert found["3"]["loss"] < found["1"]["loss"] / 2
    test = found["test"]
    assert test["accuracy"] > 0.85
    assert 0 < test["ece"] < 0.4
    assert 0 < test["brier_score"] < 0.4
