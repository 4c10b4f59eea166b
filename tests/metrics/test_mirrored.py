"""Replicas and a ragged last batch change no figure."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import tensorflow_only
from tests.metrics.reference import TABLE, data, figures

ROOT = Path(__file__).parents[2]
pytestmark = [tensorflow_only, pytest.mark.slow]


@functools.cache
def evaluated(replicas):
    done = subprocess.run(
        [sys.executable, "-m", "tests.metrics.mirrored", str(replicas)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_figures_are_those_of_one_batch(replicas):
    found = evaluated(replicas)
    y, p, w = data("classes", n=300)
    assert found["statistics"] == pytest.approx(found["alone"], abs=1e-6)
    checked = 0
    for row in TABLE.values():
        if row.kind != "classes" or row.name == "by_confidence":
            continue
        metric = row.make()
        metric.update_state(y, p, w)
        for name, expected in figures(metric.result()).items():
            value = found[name or row.name]
            assert value == pytest.approx(expected, abs=1e-6), (row.name, name)
            checked += 1
    assert checked > 15
