"""Focal loss: exact where Keras's own clips."""

import keras
import numpy as np
import pytest

from keras_calib import BinaryFocalCE, FocalCE
from tests.losses import exact
from tests.losses.oracle import SMALL, SMALL_LABELS
from tests.losses.tools import per_sample, value_and_gradient

V4 = np.array([[1.0, 2.0, 0.5, -1.0]])


def focal(p, q, beta):
    """Returns the loss and its weight, with mpmath."""
    minus_log_p = exact.minus_log(p, q)
    value = q**beta * minus_log_p
    weight = q**beta + beta * p * (q ** (beta - 1)) * minus_log_p
    return value, weight


def test_reference_value_and_gradient():
    loss = FocalCE(2.0, from_logits=True, dtype="float64")
    value, gradient = value_and_gradient(loss, [0], V4, "float64")
    assert value == pytest.approx(0.899880472819770, abs=1e-15)
    expected = [-0.87043372, 0.68381015, 0.15257867, 0.0340449]
    np.testing.assert_allclose(gradient[0], expected, atol=6e-9)


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.5, 0.173286795140), (0.9, 0.00105360515658), (0.1, 1.865093925325)],
)
def test_reference_scalars(p, expected):
    loss = FocalCE(2.0, dtype="float64")
    assert float(loss([0], np.array([[p, 1 - p]]))) == pytest.approx(
        expected, rel=1e-11
    )


@pytest.mark.parametrize(("y", "expected"), [(1, 2.634013e-4), (0, 7.902039e-4)])
def test_reference_alpha(y, expected):
    """alpha = .25, p_t = .9: positives have weight .25, negatives .75."""
    loss = BinaryFocalCE(2.0, alpha=0.25, dtype="float64")
    p = 0.9 if y else 0.1
    assert float(loss([[y]], np.array([[p]]))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        (0.5, 0.5945058575730244),
        (1.0, 0.48812739396400423),
        (2.0, 0.34408815052779607),
        (3.0, 0.25000313227282644),
    ],
)
def test_oracle(gamma, expected):
    loss = FocalCE(gamma, dtype="float64")
    assert float(loss(SMALL_LABELS, SMALL)) == pytest.approx(expected, abs=2e-15)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_exact(gamma):
    exact.check(FocalCE(gamma), lambda p, q: focal(p, q, gamma))


def test_hard_samples_keep_their_gradient_where_keras_clips():
    """At a margin of 40 Keras gives 16.118 and no gradient; 40 and [-1, 1] are
    true."""
    z = np.array([[-20.0, 20.0]])
    value, gradient = value_and_gradient(
        FocalCE(2.0, from_logits=True), [0], z, "float32"
    )
    assert value == 40.0
    np.testing.assert_array_equal(gradient, [[-1.0, 1.0]])
    stock = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=2.0, from_logits=True
    )
    value, gradient = value_and_gradient(stock, [[1.0, 0.0]], z, "float32")
    assert value == pytest.approx(16.118, abs=1e-3)
    assert not gradient.any()


def test_binary_hard_samples():
    loss = BinaryFocalCE(2.0, from_logits=True)
    value, gradient = value_and_gradient(loss, [[1.0]], [[-40.0]], "float32")
    assert value == 40.0
    assert gradient == -1.0


def test_binary_agrees_with_keras_where_keras_is_right():
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 2, (20, 3)), (rng.random((20, 3)) > 0.5).astype("float64")
    stock = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=0.25, from_logits=True, dtype="float64"
    )
    ours = BinaryFocalCE(2.0, alpha=0.25, from_logits=True, dtype="float64")
    assert float(ours(y, z)) == pytest.approx(float(stock(y, z)), rel=1e-6)


def test_alpha_is_a_factor_for_all_or_one_for_each_class():
    each = per_sample(FocalCE(2.0, dtype="float64"), SMALL_LABELS, SMALL)
    half = FocalCE(2.0, alpha=0.5, dtype="float64")
    np.testing.assert_allclose(per_sample(half, SMALL_LABELS, SMALL), 0.5 * each)
    alpha = [0.1, 0.2, 0.3, 0.4]
    by_class = FocalCE(2.0, alpha=alpha, dtype="float64")
    expected = np.array(alpha)[SMALL_LABELS] * each
    np.testing.assert_allclose(per_sample(by_class, SMALL_LABELS, SMALL), expected)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("from_logits", [False, True])
def test_label_smoothing_is_keras_own(from_logits, soft):
    """Targets (1 - e) t + e / K, each class by the focal formula."""
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(20, 5)), np.eye(5)[rng.integers(0, 5, 20)]
    if soft:
        t = rng.dirichlet(np.ones(5), 20)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    kwargs = {"from_logits": from_logits, "label_smoothing": 0.2, "dtype": "float64"}
    alpha = [0.1, 0.2, 0.3, 0.4, 0.5]
    ours = FocalCE(2.0, alpha, **kwargs)
    labels = t if soft else t.argmax(-1)
    found = per_sample(ours, labels, z if from_logits else p)
    smooth = 0.8 * t + 0.2 / 5
    expected = np.sum(alpha * smooth * (1 - p) ** 2 * -np.log(p), axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    stock = keras.losses.CategoricalFocalCrossentropy(alpha=alpha, **kwargs)
    np.testing.assert_allclose(
        found, per_sample(stock, t, z if from_logits else p), rtol=1e-6
    )


def test_label_smoothing_of_binary_labels():
    """Labels (1 - e) y + e / 2, both outcomes by the focal formula."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(20, 3)), rng.random((20, 3)).round()
    kwargs = {"from_logits": True, "label_smoothing": 0.2, "dtype": "float64"}
    p, s = 1 / (1 + np.exp(-z)), 0.8 * y + 0.1
    positive, negative = s * (1 - p) ** 2 * -np.log(p), (1 - s) * p**2 * -np.log1p(-p)
    found = per_sample(BinaryFocalCE(2.0, alpha=0.25, **kwargs), y, z)
    expected = np.mean(0.25 * positive + 0.75 * negative, axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    stock = keras.losses.BinaryFocalCrossentropy(gamma=0.0, **kwargs)
    np.testing.assert_allclose(
        per_sample(BinaryFocalCE(0.0, **kwargs), y, z),
        per_sample(stock, y, z),
        rtol=1e-6,
    )


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`gamma` .*at least 0. Received: -1"):
        FocalCE(-1)
    with pytest.raises(ValueError, match=r"`alpha.1.` must be"):
        FocalCE(2.0, alpha=[1.0, -1.0])
    with pytest.raises(ValueError, match=r"`alpha` .*\[0, 1\]. Received: 2"):
        BinaryFocalCE(2.0, alpha=2)
    with pytest.raises(ValueError, match="one for each of the 4"):
        FocalCE(2.0, alpha=[1.0, 2.0])(SMALL_LABELS, SMALL)
