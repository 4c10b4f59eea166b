"""Programs of updates for GPUs and TPUs, which JAX lowers on any machine."""

import pytest

from tests.backends import jax_only
from tests.lowering import lowered
from tests.metrics.reference import TABLE, data

pytestmark = jax_only

# What a GPU does not fuse with the reductions around it, or what takes a TPU long.
SLOW = {"custom_call", "gather", "scatter", "sort", "top_k", "while"}
# Thousands of bins take a scatter, and the edges of fine bins come from a small table.
ALLOWED = {
    "accuracy_at_coverage": {"gather", "scatter"},
    "aurc": {"gather", "scatter"},
    "equal_mass": {"gather", "scatter"},
    "ks_calibration_error": {"gather", "scatter"},
    "negative_log_likelihood": {"gather"},  # one number a row
    "perplexity": {"gather"},
    "smooth_ece": {"scatter"},
    "top_k_calibration_error": {"sort", "top_k"},
}


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_an_update_neither_sorts_nor_scatters(row, platform):
    import jax

    def long(x, dtype=None):
        return jax.ShapeDtypeStruct((20_000, *x.shape[1:]), dtype or x.dtype)

    y, p, w = data(row.kind, n=4)
    for from_logits, dtype in ((False, "float32"), (True, "bfloat16")):
        metric = row.make(from_logits=from_logits)
        metric.update_state(y, p, w)  # makes the variables
        state = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in metric.variables]
        found = lowered(
            metric.stateless_update_state,
            state,
            long(y),
            long(p, dtype),
            platform=platform,
        )
        assert found["reduce"]
        assert found.keys() & SLOW <= ALLOWED.get(row.name, set())
