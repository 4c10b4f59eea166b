"""Bins: which one, and what is in it."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from keras import ops

from keras_calib.ops import bin_index, bin_sums
from keras_calib.ops.binning import NUM_FINE_BINS, fine_edges, fine_index
from tests.backends import needs_float64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("num_bins", [1, 2, 3, 7, 10, 15, 20, 100])
def test_every_edge_opens_its_bin_and_the_last_closes(dtype, num_bins):
    edges = (np.arange(num_bins + 1) / num_bins).astype(dtype)
    expected = np.minimum(np.arange(num_bins + 1), num_bins - 1)
    np.testing.assert_array_equal(bin_index(edges, num_bins), expected)
    if num_bins > 1:
        below = np.nextafter(edges[1:-1], edges[:1])
        np.testing.assert_array_equal(bin_index(below, num_bins), expected[:-2])


def test_edges_may_be_those_of_the_dtype_that_was_given():
    x = np.array([0.7], "float32").astype("float64")
    assert np.asarray(bin_index(x, 10)) == [6]
    assert np.asarray(bin_index(x, 10, "float32")) == [7]


def test_outside_falls_into_the_nearest_bin():
    np.testing.assert_array_equal(
        bin_index(np.array([-1.0, 0.0, 1.0, 1.0000001, 9.0]), 4), [0, 0, 3, 3, 3]
    )


@pytest.mark.parametrize("bits", [32, pytest.param(64, marks=needs_float64)])
@settings(max_examples=50, deadline=None)
@given(x=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_fine_bins_are_those_of_their_edges(x, bits):
    edges = fine_edges()
    assert len(edges) == 4609
    x = np.array([*x, *edges[::97]], f"float{bits}")
    expected = np.searchsorted(edges[1:-1], x.astype("float64"), side="right")
    found = ops.convert_to_numpy(fine_index(ops.convert_to_tensor(x)))
    np.testing.assert_array_equal(found, expected)


def test_fine_bins_are_narrow_where_confidences_crowd():
    edges = fine_edges()
    width = np.diff(edges)
    distance = np.minimum(edges[1:], 1 - edges[:-1])
    assert (width > 0).all()
    assert (width <= np.maximum(distance / 128, 2.0**-25)).all()


@pytest.mark.parametrize("n", [0, 1, 1000, 50_000])
def test_sums_are_exact_to_the_last_digit(n):
    rng = np.random.default_rng(n)
    index = rng.integers(0, 5, n).astype("int32")
    x = rng.random(n).astype("float32") * 1e3
    y = (rng.random((n, 2)) - 0.5).astype("float32")
    hit = rng.random(n) < 0.3
    bins = ops.convert_to_tensor(index)
    found = bin_sums([ops.convert_to_tensor(v) for v in (x, y, hit)], bins, 5)
    for sums, values in zip(found, (x, y, hit), strict=True):
        expected = np.zeros((5, *values.shape[1:]))
        np.add.at(expected, index, values.astype("float64"))
        scale = max(np.abs(values).sum(dtype="float64"), 1.0)
        error = np.abs(ops.convert_to_numpy(sums) - expected).max()
        assert error <= 3e-7 * scale
    total = bin_sums([ops.convert_to_tensor(x)])[0]
    assert total.shape == (1,)
    assert float(total[0]) == pytest.approx(x.sum(dtype="float64"), rel=2e-7)


def test_equal_numbers_do_not_drift():
    """What a plain float32 sum does to 10^5 numbers 0.9: off by 1e-3."""
    x = np.full(100_000, 0.9, "float32")
    for index in (None, ops.zeros(100_000, "int32")):
        found = float(bin_sums([ops.convert_to_tensor(x)], index)[0][0])
        assert found == pytest.approx(x.sum(dtype="float64"), rel=2e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpy_arrays_fall_into_the_bins_of_their_edges(dtype):
    rng = np.random.default_rng(0)
    edges = fine_edges()
    spread = [rng.random(1000), rng.random(1000) ** 9, 1 - rng.random(1000) ** 9]
    near = [np.nextafter(edges, 0), edges, np.nextafter(edges, 1), [0, 1e-320, 1]]
    x = np.concatenate([*spread, *near]).astype(dtype)
    found = np.searchsorted(edges, x.astype("float64"), side="right") - 1
    np.testing.assert_array_equal(fine_index(x), found.clip(max=NUM_FINE_BINS - 1))
    beyond = np.array([-1.0, -0.0, 2.0, np.inf, np.nan], dtype)
    last = NUM_FINE_BINS - 1
    assert fine_index(beyond)[:4].tolist() == [0, 0, last, last]
    assert 0 <= fine_index(beyond)[4] <= last
    for num_bins in (2, 7, 15, 100, 128, 129):
        for precision in ("float32", "float64"):
            inner = (np.arange(1, num_bins) / num_bins).astype(precision)
            near = [np.nextafter(inner, 0), inner, np.nextafter(inner, 1)]
            x = np.concatenate([*spread, *near]).astype(dtype)
            expected = np.searchsorted(inner.astype(dtype), x, side="right")
            np.testing.assert_array_equal(bin_index(x, num_bins, precision), expected)
        assert bin_index(beyond, num_bins)[:4].tolist() == [0, 0, *[num_bins - 1] * 2]
        assert 0 <= bin_index(beyond, num_bins)[4] < num_bins
