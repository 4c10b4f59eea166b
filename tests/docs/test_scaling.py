"""The JAX code of guides/scaling.md, which test_pages.py skips, on four devices."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JAX = re.compile(r"^```{code-block} python\n(.*?)^```$", re.DOTALL | re.M)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)
def test_gamma_reaches_its_end_under_data_parallel():
    page = (ROOT / "docs" / "guides" / "scaling.md").read_text(encoding="utf-8")
    (code,) = JAX.findall(page)
    shown = "print(len(keras.distribution.list_devices()), float(loss.gamma))"
    done = subprocess.run(
        [sys.executable, "-c", code + shown],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["4", "0.5"]
