"""The summary of rows of logits: both forms, to the last digit, and read once."""

import mpmath
import numpy as np
import pytest
from keras import ops

from keras_calib.metrics import (
    BrierScore,
    CalibrationMetrics,
    ExpectedCalibrationError,
    NegativeLogLikelihood,
)
from keras_calib.ops import summary as module
from tests.backends import jax_only
from tests.lowering import program

pytestmark = jax_only

FORMS = {name: getattr(module, name) for name in ("separate", "shared", "reduced")}


def rows(k):
    rng = np.random.default_rng(k)
    z = np.concatenate(
        [rng.normal(size=(30, k)), 30.0 * rng.normal(size=(30, k)), np.zeros((4, k))]
    )
    z[60, -1], z[61, 1:], z[62, :-1:2] = 80.0, -np.inf, -np.inf
    return z.astype("float32"), rng.integers(0, k, len(z)).astype("int32")


@mpmath.workdps(50)
def exact(z, y):
    """Returns sum exp(z - m), that of others than y, the squared error and log p."""
    z = [mpmath.mpf(float(x)) for x in z]
    e = [mpmath.exp(x - max(z)) for x in z]
    total, others = mpmath.fsum(e), e[:y] + e[y + 1 :]
    rest, squares = mpmath.fsum(others), mpmath.fsum(x**2 for x in others)
    log_p = z[y] - max(z) - mpmath.log(total)
    return [float(x) for x in (total, rest, (rest**2 + squares) / total**2, log_p)]


@pytest.mark.parametrize("k", [1, 2, 10, 300])
@pytest.mark.parametrize("form", FORMS)
def test_values(form, k, monkeypatch):
    monkeypatch.setattr(module, "by_platform", lambda cpu, accelerator, *x: both(*x))
    both, (z, y) = FORMS[form], rows(k)
    found = module.summary(*map(ops.convert_to_tensor, (z, y)))
    np.testing.assert_array_equal(found.top, z.max(-1))
    np.testing.assert_array_equal(found.index, z.argmax(-1))
    for n in range(len(z)):
        # The rounding of z - m is one of e^z by as many ulps as z - m is large.
        spread = np.max(z[n].max() - z[n], where=np.isfinite(z[n]), initial=0.0)
        rtol = 2e-6 + 2.0**-24 * float(spread)
        ours = found.total, found.rest, found.squared_error, found.log_p
        np.testing.assert_allclose(
            [float(x[n]) for x in ours], exact(z[n], y[n]), rtol=rtol, atol=1e-38
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_logit(form, bad, monkeypatch):
    monkeypatch.setattr(
        module, "by_platform", lambda cpu, accelerator, *x: FORMS[form](*x)
    )
    z = np.array([[0.0, bad, 1.0], [bad, bad, bad], [-np.inf] * 3], "float32")
    found = module.summary(*map(ops.convert_to_tensor, (z, np.zeros(3, "int32"))))
    assert np.isnan(found.total).all()  # so that no metric takes it


def test_gradients_agree():
    import jax

    z, y = rows(5)
    z, y = z[:60], y[:60]

    def figures(form, z):
        top, _, true, rest, squares = form(z, y)
        return (top + 2.0 * true + 3.0 * rest + 4.0 * squares).sum()

    expected, found = (
        jax.grad(lambda z, form=form: figures(form, z))(z)
        for form in (module.separate, module.reduced)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(
    "make",
    [ExpectedCalibrationError, BrierScore, NegativeLogLikelihood, CalibrationMetrics],
)
def test_an_update_reads_the_logits_once(make, platform):
    import jax

    metric = make(from_logits=True)
    metric.update_state(np.zeros(2, "int32"), np.zeros((2, 5), "float32"))
    state = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in metric.variables]
    text = program(
        metric.stateless_update_state,
        state,
        jax.ShapeDtypeStruct((100,), "int32"),
        jax.ShapeDtypeStruct((100, 5), "float32"),
        platform=platform,
    )
    reductions = text.split("stablehlo.reduce(")[1:]
    types = [line for line in text.splitlines() if "across dimensions = [1]" in line]
    assert reductions
    assert len([line for line in types if "tensor<100x5xf32>" in line]) == 1
