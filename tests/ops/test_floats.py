"""No float64 passes through float32, on any backend."""

import numpy as np
import pytest
from keras import ops

from keras_calib.ops import floats
from tests.backends import needs_float64

X = np.array([0.1, 1.7, 2.3])  # none of them a float32


@needs_float64
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: floats.at_least(x, 0.3), np.maximum(X, 0.3)),
        (lambda x: floats.at_most(x, 1.9), np.minimum(X, 1.9)),
        (floats.last_mean, X.sum() / 3),
        (floats.round_down, np.floor(X)),
        (floats.cumsum, np.cumsum(X)),
        (lambda x: floats.divide_no_nan(x, ops.flip(x)), X / X[::-1]),
        (lambda x: floats.divide_no_nan(x, 0.0 * x), np.zeros(3)),
        (lambda x: floats.matmul(x[None], x[:, None]), [[X @ X]]),
        (
            lambda x: floats.segment_sum(x, np.array([1, 0, 1]), 3),
            [X[1], X[0] + X[2], 0],
        ),
    ],
)
def test_float64_stays(function, expected):
    found = function(ops.flip(ops.convert_to_tensor(X[::-1].copy())))
    assert floats.dtype_name(found) == "float64"
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-15)


@pytest.mark.parametrize("shape", [(1,), (7, 2), (4608, 4), (9000, 2)])
def test_cumulative_sums_of_few_and_of_many_rows(shape):
    x = np.random.default_rng(0).integers(-99, 99, shape).astype("float64")
    found = floats.cumsum(ops.convert_to_tensor(x))
    np.testing.assert_array_equal(ops.convert_to_numpy(found), np.cumsum(x, axis=0))


def test_a_cast_to_its_own_dtype_copies_nothing():
    x = np.ones(3, "float32")
    assert floats.cast(x, "float32") is x
    assert floats.cast(x, "float64").dtype == "float64"
