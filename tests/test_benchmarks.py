"""A benchmark meant for a GPU also runs on a CPU, with small arrays."""

import numpy as np

from tests.backends import jax_only


@jax_only
def test_the_vocabulary_is_timed_against_optax_and_a_copy(monkeypatch):
    from benchmarks import vocabulary

    monkeypatch.setattr(vocabulary, "TOKENS", {"cpu": 8, "gpu": 8, "tpu": 8})
    monkeypatch.setattr(vocabulary, "VOCABULARY", 100)
    rows = list(vocabulary.rows())
    assert [row.name for row in rows] == [
        f"GammaCE(0.1) (8, 100) {dtype}"
        for dtype in ("float32", "float32", "bfloat16", "bfloat16")
    ]
    assert np.isfinite([row.ratio for row in rows]).all()
    assert min(row.ratio for row in rows) > 0.0
