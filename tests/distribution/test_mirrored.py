"""MirroredStrategy gives the numbers of one device."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EVEN, RAGGED = 256, 263  # the last batch of 64: full, or 7 samples


@functools.cache
def fit(replicas, samples, made="inside"):
    done = subprocess.run(
        [sys.executable, "-m", "tests.distribution.mirrored"]
        + [str(replicas), str(samples), made],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("made", ["inside", "outside"])
@pytest.mark.parametrize("replicas", [2, 4])
def test_training_is_that_of_one_device(replicas, made):
    one, many = fit(1, EVEN), fit(replicas, EVEN, made)
    assert many["history"].keys() == one["history"].keys()
    for name, expected in one["history"].items():
        np.testing.assert_allclose(
            many["history"][name], expected, atol=1e-6, err_msg=name
        )
    for ours, expected in zip(many["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert many["history"]["gamma"][-1] == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4])
def test_metrics_are_exact_over_a_ragged_last_batch(replicas):
    one, many = fit(1, RAGGED), fit(replicas, RAGGED)
    for name in ("ece", "mce", "calibration_gap", "brier_score", "gamma"):
        for prefix in ("", "val_"):
            np.testing.assert_allclose(
                many["history"][prefix + name],
                one["history"][prefix + name],
                atol=1e-6,
                err_msg=prefix + name,
            )
