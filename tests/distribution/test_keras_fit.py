"""Keras's own `fit` still fails in these cases: a test that passes is news.

Each fails with a loss of Keras, and with an error: none gives a wrong number.
"""

import functools
from typing import NamedTuple

import pytest

from tests.distribution.launch import outputs


class Failure(NamedTuple):
    """A part of the error of Keras 3.15.1, and how many processes run the case."""

    reason: str
    processes: int = 1


# When one no longer fails, change docs/guides/scaling.md, and use `fit` in
# examples/multi_worker.py if workers can.
FAILURES = {
    "workers": Failure("ValueError: Attempt to convert a value (PerReplica", 2),
    "mirrored_xla": Failure(
        "located in device /job:localhost/replica:0/task:0/device:CPU:1"
    ),
    "mirrored_steps": Failure("You must feed a value for placeholder tensor"),
    "mirrored_undivided": Failure("AddN must have the same size and shape"),
    "parameter_server": Failure("ClusterCoordinator.create_per_worker_dataset"),
}


class KerasCannot(Exception):
    """Keras failed for the known reason."""


@functools.cache
def lines(*names, processes):
    """Returns pairs of a name and what a process printed about it."""
    ran = outputs("tests.distribution.keras_fit", *names, processes=processes)
    assert all(code == 0 for code, *_ in ran), "\n".join(e[-3000:] for *_, e in ran)
    said = [line.partition(" ") for _, out, _ in ran for line in out.splitlines()]
    return [(name, text) for name, _, text in said if name in names]


@pytest.mark.slow
@pytest.mark.xfail(strict=True, raises=KerasCannot, reason="Keras 3.15.1 cannot")
@pytest.mark.parametrize("name", FAILURES)
def test_fit_runs(name):
    reason, processes = FAILURES[name]
    together = [n for n, row in FAILURES.items() if row.processes == processes]
    said = lines(*together, processes=processes)
    texts = [text for other, text in said if other == name]
    for text in texts:
        if text.startswith("RAISED") and reason in text:
            raise KerasCannot(text)
    assert texts == ["RAN"] * processes
