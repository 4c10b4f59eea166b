"""Generalized cross-entropy and the mean absolute error."""

import keras
import numpy as np
import pytest

from keras_calib import CategoricalMeanAbsoluteError, GammaCE, GeneralizedCE
from tests.losses import exact
from tests.losses.oracle import SMALL, SMALL_LABELS
from tests.losses.tools import per_sample, value_and_gradient

MP = exact.mp
V4 = np.array([[1.0, 2.0, 0.5, -1.0]])
KWARGS = {"from_logits": True, "dtype": "float64"}


def test_gce_reference():
    value, gradient = value_and_gradient(
        GeneralizedCE(0.7, **KWARGS), [0], V4, "float64"
    )
    assert value == pytest.approx(0.926971476252490, abs=1e-15)
    expected = [-0.27239613, 0.21399359, 0.04774842, 0.01065411]
    np.testing.assert_allclose(gradient[0], expected, atol=6e-9)


def test_mae_reference():
    loss = CategoricalMeanAbsoluteError(**KWARGS)
    assert per_sample(loss, [0], V4)[0] == pytest.approx(1.551584363903598, abs=1e-15)


@pytest.mark.parametrize("exponent", [0.0, 0.1, 0.7, 1.0, 10.0])
def test_gce_is_exact(exponent):
    def reference(p, q):
        loss = exact.minus_log(p, q)
        value = -MP.expm1(-exponent * loss) / exponent if exponent else loss
        return value, MP.exp(-exponent * loss)

    exact.check(GeneralizedCE(exponent), reference)


def test_mae_is_exact():
    exact.check(CategoricalMeanAbsoluteError(), lambda p, q: (2 * q, 2 * p))


def test_limits():
    z, y = np.random.default_rng(0).normal(0, 3, (30, 5)), np.arange(30) % 5
    mae = per_sample(CategoricalMeanAbsoluteError(**KWARGS), y, z)
    np.testing.assert_allclose(
        per_sample(GeneralizedCE(1.0, **KWARGS), y, z), mae / 2, rtol=1e-12
    )
    np.testing.assert_allclose(
        per_sample(GeneralizedCE(1e-14, **KWARGS), y, z),
        per_sample(GammaCE(0.0, **KWARGS), y, z),
        rtol=1e-12,
    )


def test_class_sums():
    """(K - K^(1-q)) / q <= sum over labels <= (K - 1) / q, and 2 (K - 1) for MAE."""
    z = np.random.default_rng(0).normal(0, 3, (200, 3))
    z[0] = 0.0
    z[1] = [900.0, 0.0, 0.0]
    y = np.arange(3)
    rows = np.repeat(z, 3, axis=0)
    labels = np.tile(y, 200)
    sums = per_sample(GeneralizedCE(0.7, **KWARGS), labels, rows).reshape(-1, 3).sum(1)
    assert sums.min() == pytest.approx(2.299444, abs=5e-7)
    assert sums.max() == pytest.approx(2.857143, abs=5e-7)
    sums = per_sample(CategoricalMeanAbsoluteError(**KWARGS), labels, rows)
    np.testing.assert_allclose(sums.reshape(-1, 3).sum(1), 4.0, rtol=1e-14)


def test_truncation():
    p = np.array([[0.2, 0.8], [0.5, 0.5], [0.6, 0.4]])
    loss = GeneralizedCE(0.7, truncation=0.5, dtype="float64", reduction=None)
    value, gradient = value_and_gradient(loss, [0, 0, 0], p, "float64")
    flat = (1 - 0.5**0.7) / 0.7
    np.testing.assert_allclose(value, [flat, flat, (1 - 0.6**0.7) / 0.7], rtol=1e-14)
    np.testing.assert_allclose(gradient[:, 0], [0, 0, -(0.6**-0.3)], rtol=1e-14)


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        (0.1, 0.7039958392393826),
        (0.5, 0.5687861412914814),
        (0.7, 0.5161218493418523),
        (0.9, 0.4710841378989681),
    ],
)
def test_oracle(q, expected):
    loss = GeneralizedCE(q, dtype="float64")
    assert float(loss(SMALL_LABELS, SMALL)) == pytest.approx(expected, abs=2e-15)


def test_keras_broadcasts_a_column_of_labels():
    """Why not Keras's own: (B, 1) labels give 1.068 there where 0.569 is right."""
    stock = keras.losses.CategoricalGeneralizedCrossEntropy(0.5)
    column = SMALL_LABELS[:, None]
    assert float(stock(column, SMALL)) == pytest.approx(1.068, abs=1e-3)
    ours = GeneralizedCE(0.5)
    assert float(ours(column, SMALL)) == pytest.approx(0.5687861, abs=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`q` must be .*Received: -0.1"):
        GeneralizedCE(-0.1)
    with pytest.raises(ValueError, match=r"`truncation` .*Received: -0.5"):
        GeneralizedCE(0.7, truncation=-0.5)
