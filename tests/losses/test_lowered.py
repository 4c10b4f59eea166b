"""What JAX lowers each loss to for a GPU and a TPU, which need not be there."""

import numpy as np
import pytest

from keras_calib.losses import ExpectedAccuracyLoss, FocalCE
from tests.backends import jax_only
from tests.losses.table import ALL, BINARY, TRUE_CLASS

pytestmark = jax_only

N, K = 64, 5
HALF = "bfloat16"


def batch(row, soft=False):
    import jax

    z = jax.ShapeDtypeStruct((N, K), HALF)
    targets = soft or row in BINARY.values()
    y = ((N, K), "float32") if targets else ((N,), "int32")
    return jax.ShapeDtypeStruct(*y), z


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(
    "row", [*ALL.values(), *BINARY.values()], ids=[*ALL, *(f"b_{b}" for b in BINARY)]
)
def test_no_scatter_and_no_sort_of_the_size_of_the_logits(row, platform):
    """On a GPU each of them would write a tensor of that size."""
    import jax

    from tests.lowering import lowered

    step = jax.value_and_grad(row(from_logits=True), argnums=1)
    found = lowered(step, *batch(row), platform=platform)
    assert not {"scatter", "top_k", "sort"} & set(found)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("row", TRUE_CLASS.values(), ids=TRUE_CLASS)
def test_only_the_arguments_are_kept_for_the_gradient(row, soft):
    """Logits in half precision are not copied into float32."""
    import jax

    loss, (y, z) = row(from_logits=True), batch(row, soft)
    kept = jax.eval_shape(lambda y, z: jax.vjp(lambda z: loss(y, z), z)[1], y, z)
    kept = jax.tree.leaves(kept)
    of_logits = [x for x in kept if x.shape == (N, K)]
    # Focal loss makes targets of smoothed labels, as Keras does.
    targets = soft or (row.loss is FocalCE and loss.label_smoothing > 0.0)
    assert sorted(str(x.dtype) for x in of_logits) == [HALF] + ["float32"] * targets
    others = sum(x.size * x.dtype.itemsize for x in kept if x.shape != (N, K))
    assert others <= 16 * N  # bytes


def test_exact_computes_its_slopes_again_on_an_accelerator():
    """At each node of the quadrature they are as large as the logits."""
    import jax

    from keras_calib.ops import expected_accuracy
    from tests.lowering import program

    loss = ExpectedAccuracyLoss(from_logits=True)
    y, z = batch(None)
    gradient = jax.grad(lambda z, y: loss(y, z))
    barrier = {
        platform: "optimization_barrier" in program(gradient, z, y, platform=platform)
        for platform in ("cpu", "cuda", "tpu")
    }
    assert barrier == {"cpu": False, "cuda": True, "tpu": True}
    rng = np.random.default_rng(0)
    delta = jax.numpy.asarray(3.0 * rng.normal(size=(N, K)), "float32")
    e = jax.numpy.asarray(rng.normal(size=(N, 7)), "float32")
    share = jax.nn.softmax(e)
    _, slopes = expected_accuracy._at_nodes(delta, e)
    found = [
        jax.jit(form)(share, slopes, delta, e)
        for form in (expected_accuracy._kept, expected_accuracy._computed_again)
    ]
    np.testing.assert_allclose(*found, rtol=3e-6)  # exp(-23) rounds so far
