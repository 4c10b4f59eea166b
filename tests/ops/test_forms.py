"""Both forms of a kernel, for a CPU and for an accelerator, give the same."""

import numpy as np
import pytest
from keras import ops

from keras_calib.ops import binning, rows, sums
from tests.backends import BACKEND, every_compiler, jax_only, not_on_torch
from tests.losses.tools import value_and_gradient

M = 7
SHAPES = [(0,), (1,), (1000,), (16_411,), (40_000,), (20_000, 3)]  # one is prime


def tensors(*arrays):
    return [None if x is None else ops.convert_to_tensor(x) for x in arrays]


def samples(shape):
    rng = np.random.default_rng(len(shape))
    index = rng.integers(0, M, shape).astype("int32")
    x = rng.random(shape).astype("float32")
    return index, x, rng.random(shape) < 0.3


@not_on_torch
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_over_bins(shape):
    index, x, hit = samples(shape)
    index, x, hit = tensors(index, np.round(2**9 * x), hit.astype("int32"))
    by_scatter = sums.segment_sums(M, index, x, hit)
    by_comparison = sums.compared_sums(M, index, x, hit, x)  # two columns are alike
    alone = [sums.compared_sums(M, index, column)[0] for column in (x, hit, x)]
    for a, b, c in zip(by_scatter + by_scatter[:1], by_comparison, alone, strict=True):
        assert a.dtype == b.dtype == c.dtype
        np.testing.assert_array_equal(a, b)  # no sum of whole numbers is rounded
        np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("form", ["segment_sums", "compared_sums"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_are_those_of_float64(shape, form, monkeypatch):
    index, x, hit = samples(shape)
    if BACKEND == "torch":
        lanes = 5 if form == "compared_sums" else 1
        monkeypatch.setattr(sums, "_lanes", lambda index, num_bins: lanes)
    else:
        forms = dict(segment_sums=sums.segment_sums, compared_sums=sums.compared_sums)
        for name in forms:
            monkeypatch.setattr(sums, name, forms[form])
    find = sums.bin_sums if BACKEND == "torch" else sums.split_sums
    columns, bins = tensors(None, x, hit), ops.convert_to_tensor(index)
    found = find(columns, bins, M, 1.0)
    expected = sums.bin_sums([None, x.astype("float64"), hit], index, M)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(a), b, rtol=2e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("k", [1, 2, 10, 300])
def test_the_largest_of_a_row(k, dtype):
    if BACKEND == "jax" and dtype == "float64":
        pytest.skip("JAX has no float64 by default")
    rng = np.random.default_rng(k)
    x = np.concatenate([rng.normal(size=(50, k)), rng.integers(0, 3, (50, k))])
    x[60], x[61], x[62, ::2] = 2.0, -np.inf, -np.inf
    x = ops.convert_to_tensor(x, dtype)
    as_numbers = ops.convert_to_numpy(ops.cast(x, "float32")).astype("float64")
    forms = [rows.top]
    if BACKEND != "torch":
        forms += [rows.sorted_top, rows.first_of_largest]
    if BACKEND == "jax":
        forms += [rows.reduced_top]
    for form in forms:
        value, index = form(x)
        assert str(value.dtype) == str(x.dtype)
        found = ops.convert_to_numpy(ops.cast(value, "float32"))
        np.testing.assert_array_equal(found, as_numbers.max(-1).astype("float32"))
        np.testing.assert_array_equal(
            ops.convert_to_numpy(index), as_numbers.argmax(-1)
        )
        no_rows = form(x[:0])
        assert [tuple(part.shape) for part in no_rows] == [(0,), (0,)]


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=not_on_torch)])
def test_gradients(compiled):
    """Losses may use what metrics do."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 5)).astype("float32")
    index = ops.convert_to_tensor(rng.integers(0, M, 40).astype("int32"))
    factors = ops.arange(1.0, M + 1)

    def function(_, z):
        value, _ = rows.top(z)
        _, sums_of_values = sums.bin_sums([None, value], index, M)
        return ops.sum(ops.cast(sums_of_values, "float32") * factors)

    if compiled:
        function = every_compiler.args[1][-1].values[0](function)
    _, found = value_and_gradient(function, 0.0, z, "float32")
    of_row = 1.0 + ops.convert_to_numpy(index)
    expected = (z == z.max(-1, keepdims=True)) * of_row[:, None]
    np.testing.assert_allclose(found, expected)


@not_on_torch
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_entry_of_a_row(dtype):
    x = np.random.default_rng(0).normal(size=(4, 6))
    x[0, 1], x[1, 2], x[2] = -np.inf, np.nan, np.inf
    x, index = ops.convert_to_tensor(x, dtype), ops.convert_to_tensor([1, 0, 3, 5])
    expected = ops.convert_to_numpy(ops.cast(rows._gathered(x, index), "float32"))
    found = ops.convert_to_numpy(ops.cast(rows._summed(x, index), "float32"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("num_bins", [2, 10, 15, 100, 1000])
def test_bins(num_bins):
    edges = binning.equal_width_edges(num_bins)[1:-1].astype("float32")
    x = np.concatenate([edges, np.nextafter(edges, np.float32(0)), [0.0, 1.0]])
    expected = np.searchsorted(edges, x, side="right")
    x = ops.convert_to_tensor(x, "float32")
    for found in (
        binning.searched(edges, x),
        binning.comparisons(tuple(edges.tolist()), x),
        binning.reduced(edges, x),
        binning.bin_index(x, num_bins),
    ):
        np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)


@jax_only
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_what_jax_takes(platform):
    import jax

    from tests.lowering import lowered

    x = jax.ShapeDtypeStruct((64, 10), "float32")
    found = lowered(rows.top, x, platform=platform)
    assert not found.keys() & {"top_k", "sort", "scatter", "gather"}
