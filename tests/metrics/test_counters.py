"""Sums stay right past 2^24 samples, by simulation."""

import numpy as np
import pytest
from keras import ops

from tests.backends import BACKEND
from tests.metrics.reference import TABLE, assert_close, data

N = 64


def repeated(row, y, p, w, times):
    """The metric after `times` updates with one batch, in one compiled loop."""
    metric = row.make()
    metric.update_state(y, p, w)
    metric.reset_state()
    batch = list(map(ops.convert_to_tensor, (y, p, w)))

    def many(*state):
        def update(_, state):
            return metric.stateless_update_state(state, *batch)

        return ops.fori_loop(0, times, update, list(state))

    if BACKEND == "tensorflow":
        import tensorflow as tf

        # XLA runs a long loop in a third of the time.
        many = tf.function(many, jit_compile=times > 6200)
    if BACKEND == "jax":
        import jax

        many = jax.jit(many)
    state = many(*map(ops.convert_to_tensor, metric.variables))
    for variable, value in zip(metric.variables, state, strict=True):
        variable.assign(value)
    return metric


minutes_on_torch = pytest.mark.skipif(
    BACKEND == "torch", reason="torch runs each of the updates by itself: a minute"
)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("brier_score", 6200),
        pytest.param("ece", 6200, marks=minutes_on_torch),
        pytest.param("calibration_gap", 6200, marks=minutes_on_torch),
        *(
            pytest.param(name, 30600, marks=[pytest.mark.slow, minutes_on_torch])
            for name in TABLE
        ),
    ],
)
def test_counters_do_not_stand_still(name, times):
    """2e8 and 1e9 samples, 32768 an update; float32 counters stand still at 1.7e7,
    and without the compensation the figures are off by 1e-4."""
    row = TABLE[name]
    y, p, w = data(row.kind, n=N)
    w = 512 * (w + 1e-3 * np.arange(N, dtype="float32"))
    metric = repeated(row, y, p, w, times)
    once = row.make(dtype="float64")
    once.update_state(y, p, w)
    assert_close(metric.result(), once.result(), max(1e-6, row.atol / 10))


@minutes_on_torch
def test_the_total_weight_does_not_stand_still():
    y, p, w = data("classes", n=N)
    w, times = 512 * w + 0.5, 6200
    metric = repeated(TABLE["ece"], y, p, w, times)
    total = times * w.sum(dtype="float64")
    assert metric.statistics().total == pytest.approx(total, rel=1e-7)


def test_a_batch_of_equal_numbers_is_summed_to_the_last_digit():
    """A plain float32 sum of 8192 x .9 is off by 7e-5."""
    n = 8192
    p = np.tile(np.array([[0.9, 0.1]], "float32"), (n, 1))
    for name in ("ece", "calibration_gap"):
        metric = TABLE[name].make()
        metric.update_state(np.zeros(n, "int32"), p)
        exact = 1.0 - float(np.float32(0.9))
        assert abs(float(metric.result())) == pytest.approx(exact, abs=1e-7)
