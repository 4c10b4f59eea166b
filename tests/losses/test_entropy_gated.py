"""Cross-entropy gated by the entropy of the predictions."""

import numpy as np
import pytest

from keras_calib.losses import EntropyGatedCE
from tests.losses.tools import per_sample, value_and_gradient


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_reference(exponent):
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 3, (9, 7)), rng.integers(0, 7, 9)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    gate = (-(p * np.log(p)).sum(-1) / np.log(7)) ** exponent
    loss = EntropyGatedCE(exponent, from_logits=True, reduction="sum", dtype="float32")
    value, gradient = value_and_gradient(loss, y, z.astype("float32"), "float32")
    assert float(value) == pytest.approx(
        (-gate * np.log(p[np.arange(9), y])).sum(), rel=2e-6
    )
    expected = gate[:, None] * (p - np.eye(7)[y])
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_what_contradicts_a_sure_model_has_no_gradient(exponent):
    z = np.array([[300.0, 0.0, -np.inf], [0.0, 0.0, 0.0]], "float32")
    loss = EntropyGatedCE(exponent, from_logits=True, reduction=None)
    assert per_sample(loss, [1, 1], z).tolist() == [0.0, pytest.approx(np.log(3))]
    _, gradient = value_and_gradient(
        EntropyGatedCE(exponent, from_logits=True, reduction="sum"),
        [1, 1],
        z,
        "float32",
    )
    np.testing.assert_allclose(gradient, [[0, 0, 0], [1 / 3, -2 / 3, 1 / 3]], 1e-6)


def test_a_probability_that_rounding_put_above_1():
    loss = EntropyGatedCE(0.5, reduction=None)
    p = np.array([[1.0 + 1e-6, 0.0]], "float32")
    assert per_sample(loss, [1], p).tolist() == [0.0]


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`exponent` .*at least 0. Received: -0.1"):
        EntropyGatedCE(-0.1)
