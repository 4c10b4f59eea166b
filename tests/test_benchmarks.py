"""A benchmark meant for a GPU also runs on a CPU, with small arrays."""

import os

import numpy as np
import pytest

from tests.backends import BACKEND, jax_only

not_on_tensorflow = pytest.mark.skipif(
    BACKEND == "tensorflow", reason="the peers are those of JAX and of torch"
)


@not_on_tensorflow
def test_the_vocabulary_is_timed_against_the_best_peer_and_a_copy(monkeypatch):
    from benchmarks import vocabulary

    monkeypatch.setattr(vocabulary, "TOKENS", {False: 8, True: 8})
    monkeypatch.setattr(vocabulary, "VOCABULARY", 100)
    rows = list(vocabulary.rows())
    names = [*vocabulary.LOSSES, "GammaCE(0.1)"]
    assert [row.name for row in rows] == [
        f"{name} (8, 100) {dtype}"
        for dtype in ("float32", "bfloat16")
        for name in names
    ]
    assert np.isfinite([row.ratio for row in rows]).all()
    assert min(row.ratio for row in rows) > 0.0


@jax_only
def test_updates_of_metrics_are_timed_against_maximum_and_argmax(monkeypatch):
    from benchmarks import metrics

    monkeypatch.setattr(metrics, "SIZES", {"cpu": [(8, 5)], "gpu": [(8, 5)]})
    rows = list(metrics.rows())
    assert [row.name for row in rows[:2]] == [
        "ExpectedCalibrationError (8, 5) / max + argmax",
        "CalibrationMetrics (8, 5) / max + argmax",
    ]
    assert min(row.ratio for row in rows) > 0.0


def test_a_process_answers_each_question(tmp_path, monkeypatch):
    from benchmarks.timing import Process

    (tmp_path / "echo.py").write_text(
        "import sys\nprint('ready', flush=True)\n"
        "for i, _ in enumerate(sys.stdin):\n    print(i, sys.argv[1], flush=True)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = Process("echo", "0.5")
    assert process.ready
    assert [process(), process()] == [[0.0, 0.5], [1.0, 0.5]]
    process.close()
    assert not Process("echo_that_is_not_there").ready


@jax_only
def test_kernels_and_bytes_are_read_from_the_compiled_text(monkeypatch):
    import jax

    monkeypatch.setattr(os, "environ", dict(os.environ))  # which the module sets
    from benchmarks import gpu_programs

    x = jax.ShapeDtypeStruct((64, 32), "bfloat16")
    y = jax.ShapeDtypeStruct((64, 32), "bool")
    program = jax.jit(lambda x, y: jax.numpy.where(y, x, 0)).lower(x, y).compile()
    count, moved = gpu_programs.kernels(program)
    assert (count, moved) == (1, 64 * 32 * (2 + 1 + 2))
