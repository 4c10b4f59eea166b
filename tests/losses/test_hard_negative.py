"""Hard negative mining: how many negatives are kept, and which."""

import numpy as np
import pytest

from keras_calib import HardNegativeCE
from tests.losses.tools import per_sample, value_and_gradient

# Section 25 of the specification.
NEGATIVES = np.array([0.1, 2.0, 0.5, 0.05, 1.2, 0.3, 0.7])
POSITIVES = np.array([0.6, 0.9])


def image(negatives, positives):
    """Labels and probabilities of an image whose anchors have these losses."""
    of_background = np.exp(-np.array(negatives))
    of_object = np.exp(-np.array(positives))
    p = np.concatenate([of_background, 1 - of_object])
    y = np.array([0] * len(negatives) + [1] * len(positives))
    return y, np.stack([p, 1 - p], axis=-1)


def test_keeps_three_to_one():
    y, p = image(NEGATIVES, POSITIVES)
    loss = HardNegativeCE(dtype="float64")
    kept = per_sample(loss, y[None], p[None])[0] * 2 / 9
    np.testing.assert_allclose(kept[:7], np.where(NEGATIVES == 0.05, 0, NEGATIVES))
    np.testing.assert_allclose(kept[7:], POSITIVES)
    assert kept[:7].sum() == pytest.approx(4.8)
    assert float(loss(y[None], p[None])) == pytest.approx((4.8 + 1.5) / 2)
    assert float(loss(y, p)) == pytest.approx((4.8 + 1.5) / 2)


def test_keeps_no_more_than_there_are():
    """ssd.pytorch's cap of A - 1 takes a positive for a negative here."""
    y, p = image(NEGATIVES[:3], POSITIVES)
    loss = HardNegativeCE(dtype="float64")
    got = per_sample(loss, y[None], p[None])[0] * 2 / 5
    np.testing.assert_allclose(got, [*NEGATIVES[:3], *POSITIVES], rtol=1e-12)


def test_is_image_by_image():
    """An image with no positive counts for nothing; N is that of the batch."""
    (y, p), (empty, q) = image(NEGATIVES, POSITIVES), image([3.0] * 9, [])
    loss = HardNegativeCE(dtype="float64")
    value, gradient = value_and_gradient(
        loss, np.stack([y, empty]), np.stack([p, q]), "float64"
    )
    assert value == pytest.approx((4.8 + 1.5) / 2)
    assert not gradient[1].any()
    assert float(loss(empty, q)) == 0.0


def test_ignores():
    y, p = image(NEGATIVES, POSITIVES)
    y = np.where(np.arange(9) == 1, -1, y)
    loss = HardNegativeCE(dtype="float64", ignore_class=-1)
    rest = NEGATIVES.sum() - 2.0
    weighted = per_sample(loss, y, p) * 2 / 8
    assert weighted[1] == 0.0
    assert weighted.sum() == pytest.approx(rest + 1.5)


def test_in_float32_is_finite():
    z = np.random.default_rng(0).choice([-1e4, 0.0, 1e4], (2, 50, 3))
    loss = HardNegativeCE(from_logits=True)
    y = np.random.default_rng(1).integers(0, 3, (2, 50))
    value, gradient = value_and_gradient(loss, y, z, "float32")
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match="`background` must be a whole.*Received: 1.5"):
        HardNegativeCE(background=1.5)
    with pytest.raises(ValueError, match=r"`ratio` .*Received: -3"):
        HardNegativeCE(-3)
    with pytest.raises(ValueError, match="needs integer labels"):
        HardNegativeCE()(np.zeros((2, 4, 3)), np.zeros((2, 4, 3)))
