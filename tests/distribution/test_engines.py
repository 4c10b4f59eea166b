"""The numbers of one device, on every engine: one table.

Loss, metrics, gamma and weights of each row are compared within 1e-6 with those of
one device of TensorFlow.
"""

import functools
import importlib.util
import json
from typing import NamedTuple

import numpy as np
import pytest

from tests.distribution.launch import outputs

pytestmark = pytest.mark.slow
FOUR_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
GLOO = {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}


class Engine(NamedTuple):
    """A row: where it runs and which cases it can run."""

    cases: tuple[str, ...]
    backend: str = "tensorflow"
    processes: int = 1
    environment: dict[str, str] = {}  # noqa: RUF012


ALL = "trained", "made_outside", "ragged", "mixed_bfloat16"
TABLE = {
    "one": Engine(ALL),
    "one_jax": Engine(("trained", "mixed_bfloat16"), "jax"),
    "jit": Engine(("trained", "ragged", "mixed_bfloat16")),
    "mirrored2": Engine(ALL),
    "mirrored4": Engine(("trained", "ragged")),
    # Metrics made outside are each worker's own there.
    "workers": Engine(("trained", "ragged", "mixed_bfloat16"), processes=2),
    # Keras refuses what was made before, and a batch that the devices do not divide.
    "data_parallel": Engine(
        ("trained", "mixed_bfloat16"), "jax", environment=FOUR_DEVICES
    ),
    "model_parallel": Engine(
        ("trained", "mixed_bfloat16"), "jax", environment=FOUR_DEVICES
    ),
    "processes": Engine(("trained", "mixed_bfloat16"), "jax", 2, GLOO),
}
ROWS = [
    (name, case)
    for name, row in TABLE.items()
    for case in row.cases
    if name != "one" and (name, case) != ("one_jax", "mixed_bfloat16")
]
# TensorFlow's kernels and XLA round bfloat16 differently, by 1e-4: what XLA compiles is
# held against one device of JAX.
BY_XLA = {"jit", "data_parallel", "model_parallel", "processes"}


@functools.cache
def fit(name):
    """What each process of an engine found, by case."""
    row = TABLE[name]
    if importlib.util.find_spec(row.backend) is None:
        pytest.skip(f"{row.backend} is not installed")
    ran = outputs(
        "tests.distribution.engines",
        name,
        *row.cases,
        processes=row.processes,
        JAX_ENABLE_X64="0",
        KERAS_BACKEND=row.backend,
        **row.environment,
    )
    assert all(code == 0 for code, *_ in ran), "\n".join(e[-3000:] for *_, e in ran)
    lines = [[x for x in out.splitlines() if x.startswith("{")] for _, out, _ in ran]
    return [json.loads(found) for (found,) in lines]


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_the_numbers_are_those_of_one_device(name, case):
    rounded_by_xla = case == "mixed_bfloat16" and name in BY_XLA
    (one,) = fit("one_jax" if rounded_by_xla else "one")
    expected = one[case]
    for found in fit(name):
        history = found[case]["history"]
        assert history.keys() - {"sharding"} == expected["history"].keys()
        for key, values in expected["history"].items():
            np.testing.assert_allclose(history[key], values, atol=1e-6, err_msg=key)
        pairs = zip(found[case]["weights"], expected["weights"], strict=True)
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert expected["history"]["gamma"][-1] == 0.5


def test_the_classes_are_sharded_where_the_model_is():
    (found,) = fit("model_parallel")
    assert found["trained"]["history"]["sharding"] == "(None, 'model')"
