"""Every engine and backend gives the numbers of one device.

Each row compares its loss, metrics, gamma and weights, within 1e-6, with those of one
TensorFlow device. Under mixed_bfloat16 it compares loss and metrics in the same way,
because they are computed in float32 from the same bfloat16 logits; weights that
bfloat16 gradients moved agree within the rounding of the gradients.
"""

import fcntl
import functools
import importlib.util
import json
from typing import NamedTuple

import numpy as np
import pytest

from keras_calib import ExpectedCalibrationError
from tests.distribution import engines
from tests.distribution.launch import outputs

pytestmark = pytest.mark.slow
# Other tests are of what XLA compiles for JAX, so its last stages may be quick here.
QUICK = "--xla_cpu_use_fusion_emitters=false"
FOUR_DEVICES = {"XLA_FLAGS": f"--xla_force_host_platform_device_count=4 {QUICK}"}
GLOO = {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}


class Row(NamedTuple):
    """Where an engine runs, which cases it runs, and what they are compared with."""

    engine: str
    cases: tuple[str, ...]
    backend: str = "tensorflow"
    processes: int = 1
    environment: dict[str, str] = {}  # noqa: RUF012
    # The row with the expected numbers of cases whose outputs are rounded.
    rounded_like: str = "one"
    # Cases that are themselves expected numbers, or have a test of their own.
    not_compared: tuple[str, ...] = ()


ALL = tuple(n for n in engines.CASES if n != "scheduled_outside")  # which raises
# On JAX, Keras rejects losses created outside the scope, and batches that do not divide
# evenly among the devices.
ON_JAX = tuple(
    n for n, case in engines.CASES.items() if case.made_inside and case.divides
)
# XLA rounds bfloat16 differently from TensorFlow's kernels, by up to 1e-4: what it
# compiles is compared with one JAX device.
XLA = {"rounded_like": "one_jax"}


def without(cases, *few):
    """Returns the cases but those for which few engines suffice."""
    return tuple(case for case in cases if case not in few)


FOUR_JAX_DEVICES = {"backend": "jax", "environment": FOUR_DEVICES, **XLA}
# By default XLA leaves out roundings to bfloat16, and which ones depends on the program
# around the loss, which Keras writes differently on TensorFlow and on JAX.
EVERY_ROUNDING = {"XLA_FLAGS": "--xla_allow_excess_precision=false"}
TABLE = {
    "one": Row("one", ALL, not_compared=ALL),
    "one_jax": Row(
        "one",
        (*without(ON_JAX, "every"), "ragged"),
        "jax",
        environment={"XLA_FLAGS": QUICK},
        not_compared=("mixed_bfloat16", "trained_bfloat16"),
    ),
    "one_torch": Row(
        "one", ("trained", "ragged", "every", "adaptive", "scheduled"), "torch"
    ),
    "one_jax_rounded": Row(
        "one",
        ("mixed_bfloat16",),
        "jax",
        environment=EVERY_ROUNDING,
        not_compared=("mixed_bfloat16",),
    ),
    # Every loss and every metric has its own test under XLA.
    "xla": Row(
        "jit",
        ("trained", "ragged", "mixed_bfloat16"),
        environment=EVERY_ROUNDING,
        rounded_like="one_jax_rounded",
    ),
    "mirrored2": Row("mirrored2", ALL),
    # More devices, or processes, of a kind whose every case another row runs.
    "mirrored4": Row("mirrored4", ("trained", "ragged")),
    "workers": Row(
        "workers",
        without(ALL, "every", "fused"),
        processes=2,
        not_compared=("made_outside",),
    ),
    "data_parallel": Row(
        "data_parallel", ("trained", "mixed_bfloat16"), **FOUR_JAX_DEVICES
    ),
    "model_parallel": Row("model_parallel", ON_JAX, **FOUR_JAX_DEVICES),
    "processes": Row("processes", ("trained", "adaptive"), "jax", 2, GLOO, **XLA),
}
COMPARED = [
    (name, case)
    for name, row in TABLE.items()
    for case in row.cases
    if case not in row.not_compared
]
ROUNDED = [pair for pair in COMPARED if engines.CASES[pair[1]].rounds_gradients]
EXACT = [pair for pair in COMPARED if pair not in ROUNDED]


@pytest.fixture(scope="session")
def fit(tmp_path_factory, worker_id):
    """Returns a function from a row to what each of its processes found in each case.

    An engine runs only once, even if several processes of pytest ask for it.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = folder if worker_id == "master" else folder.parent

    @functools.cache
    def run(name):
        row = TABLE[name]
        if importlib.util.find_spec(row.backend) is None:
            pytest.skip(f"{row.backend} is not installed")
        with (folder / f"engine_{name}").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            ran = json.loads(file.read() or "[]")
            if not ran:
                ran = outputs(
                    "tests.distribution.engines",
                    row.engine,
                    *row.cases,
                    processes=row.processes,
                    KERAS_BACKEND=row.backend,
                    JAX_ENABLE_X64="0",
                    JAX_DISABLE_MOST_OPTIMIZATIONS="1",
                    **row.environment,
                )
                json.dump(ran, file)
        assert all(code == 0 for code, *_ in ran), "\n".join(e[-3000:] for *_, e in ran)
        lines = [[x for x in out.splitlines() if x[:1] == "{"] for _, out, _ in ran]
        return [json.loads(found) for (found,) in lines]

    return run


@pytest.fixture
def of_one_device(fit):
    """Returns a function from a row and a case to the expected numbers."""

    def get(name, case):
        rounded = engines.CASES[case].rounds_outputs
        (found,) = fit(TABLE[name].rounded_like if rounded else "one")
        return found[case]

    return get


@pytest.mark.parametrize(("name", "case"), EXACT)
def test_the_numbers_are_those_of_one_device(fit, of_one_device, name, case):
    expected = of_one_device(name, case)
    for found in fit(name):
        history = found[case]["history"]
        assert history.keys() == expected["history"].keys()
        for key, values in expected["history"].items():
            atol = 1e-6 * max(1, *np.abs(values))  # the total loss of all heads is 20
            np.testing.assert_allclose(history[key], values, 0, atol, err_msg=key)
        pairs = zip(found[case]["weights"], expected["weights"], strict=True)
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert found[case]["bins"] == expected["bins"]
        rows = zip(found[case]["epochs"], expected["epochs"], strict=True)
        for ours, theirs in rows:
            assert ours == pytest.approx(theirs, abs=1e-6)
    gamma = expected["history"][engines.CASES[case].gamma]
    assert len(set(gamma)) == engines.EPOCHS


@pytest.mark.parametrize(("name", "case"), ROUNDED)
def test_bfloat16_gradients_differ_by_their_rounding(fit, of_one_device, name, case):
    """bfloat16 keeps 8 bits, and each replica rounds its part of every gradient."""
    expected = of_one_device(name, case)["weights"]
    for found in fit(name):
        ours = found[case]["weights"]
        for w, end, start in zip(ours, expected, engines.WEIGHTS, strict=True):
            moved = np.abs(np.subtract(end, start)).max()
            np.testing.assert_allclose(w, end, atol=2**-7 * moved)


@pytest.mark.parametrize("replicas", [2, 4])
def test_the_log_of_a_batch_is_the_mean_of_the_replicas_eces(fit, replicas):
    """Only the log of an epoch, which callbacks read, has the ECE of all samples.

    The weights do not change in this case, so numpy knows the predictions.
    """
    kernel, bias, head, shift = engines.WEIGHTS
    z = np.maximum(engines.X @ kernel + bias, 0) @ head + shift
    (one,), (many,) = fit("one"), fit(f"mirrored{replicas}")
    shown = many["ragged"]["eces"]
    for step in range(4):
        seen = np.arange(64 * (step + 1)).reshape(step + 1, replicas, -1)
        parts = [ece(seen[:, i].ravel(), z) for i in range(replicas)]
        assert shown[step] == pytest.approx(np.mean(parts), abs=1e-6)
        assert one["ragged"]["eces"][step] == pytest.approx(
            ece(seen.ravel(), z), abs=1e-6
        )
        assert shown[step] > one["ragged"]["eces"][step] + 1e-4
    assert many["ragged"]["history"]["ece"] == pytest.approx(
        [ece(np.arange(263), z)] * engines.EPOCHS, abs=1e-6
    )


def ece(rows, z):
    """Returns the ECE of some samples, measured in one batch."""
    metric = ExpectedCalibrationError(from_logits=True)
    metric.update_state(engines.Y[rows], z[rows])
    return float(metric.result())


def test_metrics_made_outside_are_each_workers_own(fit, of_one_device):
    """Each worker measures its own samples; training is right, and so are all bins."""
    expected = of_one_device("workers", "trained")
    found = [process["made_outside"] for process in fit("workers")]
    each = [process["history"]["brier_score"] for process in found]
    assert np.abs(np.subtract(*each)).min() > 1e-3
    assert np.add(*(process["bins"] for process in found)).tolist() == expected["bins"]
    for process in found:
        for ours, theirs in zip(process["weights"], expected["weights"], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("case", "said"),
    [("made_outside", "incompatible devices"), ("ragged", "evenly divide")],
)
def test_keras_refuses_on_jax(case, said):
    """It rejects losses created outside the scope, and batches that do not divide."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    arguments = "tests.distribution.engines", "data_parallel", case
    ((code, _, errors),) = outputs(*arguments, KERAS_BACKEND="jax", **FOUR_DEVICES)
    assert code != 0
    assert said in errors


def test_a_schedule_made_outside_is_refused():
    """Each replica would count the steps of all."""
    arguments = "tests.distribution.engines", "mirrored2", "scheduled_outside"
    ((code, _, errors),) = outputs(*arguments, KERAS_BACKEND="tensorflow")
    assert code != 0
    assert "must be created in the scope of the strategy" in errors


def test_the_classes_are_sharded_where_the_model_is(fit):
    (found,) = fit("model_parallel")
    assert "(None, 'model')" in found["trained"]["layout"]
