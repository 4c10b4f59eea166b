"""Cross-entropy minus entropy."""

import numpy as np
import pytest

from keras_calib import ConfidencePenaltyCE
from tests.losses import exact
from tests.losses.tools import per_sample, value_and_gradient

MP = exact.mp
V4 = np.array([[1.0, 2.0, 0.5, -1.0]])


def test_reference():
    p = np.array([[0.7, 0.2, 0.1]])
    loss = ConfidencePenaltyCE(0.1, from_logits=True, dtype="float64")
    value, gradient = value_and_gradient(loss, [0], np.log(p), "float64")
    assert value == pytest.approx(0.276493088684399, abs=1e-15)
    expected = [-0.26883995, 0.18384761, 0.08499233]
    np.testing.assert_allclose(gradient[0], expected, atol=6e-9)
    of_p = ConfidencePenaltyCE(0.1, dtype="float64")
    assert per_sample(of_p, [0], p)[0] == pytest.approx(0.276493088684399, abs=1e-15)
    assert per_sample(loss, [0], V4)[0] == pytest.approx(1.393741620535600, abs=1e-15)


def test_is_a_divergence_from_the_uniform():
    """CE + beta KL(p || u) - beta log K, where label smoothing has KL(u || p)."""
    z = np.random.default_rng(0).normal(0, 2, (20, 7))
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    kl = np.sum(p * np.log(7 * p), axis=-1)
    expected = -np.log(p[:, 2]) + 0.3 * (kl - np.log(7))
    loss = ConfidencePenaltyCE(0.3, from_logits=True, dtype="float64")
    np.testing.assert_allclose(
        per_sample(loss, np.full(20, 2), z), expected, rtol=1e-12
    )


@pytest.mark.parametrize("num_classes", exact.NUM_CLASSES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-12)]
)
def test_exact(dtype, tolerance, num_classes):
    """To the larger of its two terms: their difference passes through 0."""
    case = exact.case(num_classes)
    beta = 0.1
    loss = ConfidencePenaltyCE(beta, from_logits=True, reduction=None, dtype=dtype)
    value, _ = value_and_gradient(loss, case.labels, case.logits, dtype)
    for got, p, q, others in zip(value, case.p, case.q, case.others, strict=True):
        minus_log = exact.minus_log(p, q)
        # p_j = q s_j with shares s_j of the rest.
        shares = [MP.mpf(s) for s in others if s > 0]
        entropy = (
            p * minus_log - q * MP.log(q) - q * MP.fsum(s * MP.log(s) for s in shares)
        )
        size = max(minus_log, beta * entropy, MP.mpf("1e-28"))
        assert abs(float((got - (minus_log - beta * entropy)) / size)) <= tolerance


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`beta` .*at least 0. Received: -0.1"):
        ConfidencePenaltyCE(-0.1)
