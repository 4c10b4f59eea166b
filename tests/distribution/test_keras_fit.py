"""The day Keras's own `fit` runs on several workers, this file says so."""

import pytest

from tests.distribution.launch import outputs


class KerasCannot(Exception):
    """Keras's own reason: it takes a replica's batch for a tensor."""


@pytest.mark.slow
@pytest.mark.xfail(
    strict=True,
    raises=KerasCannot,
    reason="Keras 3.15.1: _maybe_symbolic_build converts a PerReplica to a tensor",
)
def test_fit_runs_under_multi_worker_mirrored_strategy():
    """Where it does, examples/multi_worker.py needs no loop of its own."""
    ran = outputs("tests.distribution.keras_fit", processes=2)
    assert all(code == 0 for code, *_ in ran), "\n".join(e[-3000:] for *_, e in ran)
    said = [out.splitlines()[-1] for _, out, _ in ran]
    for line in said:
        if line.startswith("RAISED ValueError: Attempt to convert a value (PerReplica"):
            raise KerasCannot(line)
    assert said == ["RAN", "RAN"]
