"""The day Keras's own `fit` runs where it fails today, this file says so.

Each of these fails with a stock loss, and says so: none gives a wrong number.
"""

import functools

import pytest

from tests.distribution.launch import outputs

# What Keras 3.15.1 says. Where it does no more, docs/guides/scaling.md changes, and
# examples/multi_worker.py needs no loop of its own.
REASONS = {
    "workers": "ValueError: Attempt to convert a value (PerReplica",
    "mirrored_xla": "located in device /job:localhost/replica:0/task:0/device:CPU:1",
    "mirrored_steps": "You must feed a value for placeholder tensor",
    "mirrored_undivided": "AddN must have the same size and shape",
    "parameter_server": "ClusterCoordinator.create_per_worker_dataset",
}


class KerasCannot(Exception):
    """Keras's own reason."""


@functools.cache
def lines(*names, processes=1):
    """Returns what each process said of each name."""
    ran = outputs("tests.distribution.keras_fit", *names, processes=processes)
    assert all(code == 0 for code, *_ in ran), "\n".join(e[-3000:] for *_, e in ran)
    said = [line.partition(" ") for _, out, _ in ran for line in out.splitlines()]
    return [(name, text) for name, _, text in said if name in names]


@pytest.mark.slow
@pytest.mark.xfail(strict=True, raises=KerasCannot, reason="Keras 3.15.1 cannot")
@pytest.mark.parametrize("name", REASONS)
def test_fit_runs(name):
    alone = [other for other in REASONS if other != "workers"]
    said = lines(name, processes=2) if name == "workers" else lines(*alone)
    texts = [text for other, text in said if other == name]
    for text in texts:
        if text.startswith("RAISED") and REASONS[name] in text:
            raise KerasCannot(text)
    assert texts == ["RAN"] * (2 if name == "workers" else 1)
