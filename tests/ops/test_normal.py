"""The normal distribution's logarithm and its slopes, against mpmath."""

import mpmath as mp
import numpy as np
import pytest
from keras import ops

from keras_calib.ops import log_ndtr
from tests.backends import needs_float64

X = np.concatenate(
    [-np.logspace(4.3, -3, 60), [-5.01, -5.0, -4.99, 0.0], np.logspace(-3, 0.6, 20)]
)


@pytest.mark.parametrize(
    ("dtype", "tolerances"),
    [
        pytest.param("float64", (1e-13, 1e-12, 1e-11), marks=needs_float64),
        ("float32", (2e-6, 2e-6, 3e-5)),
    ],
)
def test_exact(dtype, tolerances):
    """log Phi, lambda, and lambda + x: all their digits down to x = -2e4."""
    x = X.astype(dtype)
    got = [ops.convert_to_numpy(v) for v in log_ndtr(ops.convert_to_tensor(x))]
    with mp.workdps(40):
        for i, value in enumerate(map(float, x)):
            phi = mp.erfc(-mp.mpf(value) / mp.sqrt(2)) / 2
            slope = mp.npdf(mp.mpf(value)) / phi
            expected = (mp.log(phi), slope, slope + mp.mpf(value))
            for g, e, tolerance in zip(got, expected, tolerances, strict=True):
                assert abs(float((mp.mpf(float(g[i])) - e) / e)) <= tolerance, value


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_finite_everywhere(dtype):
    x = ops.convert_to_tensor(np.array([-1e9, -40, 40, 1e9], dtype))
    for v in log_ndtr(x):
        assert np.isfinite(ops.convert_to_numpy(v)).all()
