"""InfoNCE and NCE, which are two things."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import logsumexp

from keras_calib import InfoNCE, NoiseContrastiveEstimation
from tests.losses.tools import per_sample, value_and_gradient

S = np.array([[0.8, 0.1, -0.2, 0.3]])


def test_info_nce_reference():
    loss = InfoNCE(0.1, dtype="float64")
    assert per_sample(loss, [0], S)[0] == pytest.approx(0.0076657716442095, abs=5e-17)


def test_masked_candidates_are_left_out():
    masked = np.insert(S, [1, 3], -np.inf, axis=1)
    loss = InfoNCE(0.1, dtype="float64")
    value, gradient = value_and_gradient(loss, [0], masked, "float64")
    assert value == pytest.approx(0.0076657716442095, abs=5e-17)
    assert np.isfinite(gradient).all()
    assert not gradient[0][np.isinf(masked[0])].any()


def test_two_views_of_a_batch():
    """The three lines of the docstring, against SimCLR's loop."""
    n, tau = 6, 0.5
    x = np.random.default_rng(0).normal(size=(2 * n, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    scores = np.where(np.eye(2 * n, dtype=bool), -np.inf, x @ x.T)
    y = np.roll(np.arange(2 * n), n)
    expected = []
    for i in range(2 * n):
        others = [x[i] @ x[j] / tau for j in range(2 * n) if j != i]
        expected.append(logsumexp(others) - x[i] @ x[(i + n) % (2 * n)] / tau)
    loss = InfoNCE(tau, dtype="float64")
    np.testing.assert_allclose(per_sample(loss, y, scores), expected, rtol=1e-12)
    features = ops.convert_to_tensor(x)
    got = features @ ops.transpose(features)
    got = ops.where(ops.eye(2 * n, dtype="bool"), -float("inf"), got)
    labels = ops.roll(ops.arange(2 * n), n)
    assert float(loss(labels, got)) == pytest.approx(np.mean(expected), rel=1e-12)


def test_nce_reference():
    loss = NoiseContrastiveEstimation(0.01, 0.1, dtype="float64")
    assert per_sample(loss, [0], S)[0] == pytest.approx(12.732372333049947, abs=2e-14)


def test_nce_noise_that_differs_goes_into_the_scores():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    loss = NoiseContrastiveEstimation(dtype="float64")
    logits = S[0] - np.log(3 * p)
    expected = np.log1p(np.exp(-logits[0])) + np.log1p(np.exp(logits[1:])).sum()
    got = per_sample(loss, [0], S - np.log(p))[0]
    assert got == pytest.approx(expected, rel=1e-14)


def test_nce_normalizes_itself():
    """Its minimum in expectation is s = log p, with no constant to choose."""
    from scipy import optimize

    p, noise = np.array([0.5, 0.3, 0.2]), np.full(3, 1 / 3)

    def expected(s):
        # One true candidate from p and one from the noise.
        losses = NoiseContrastiveEstimation(1 / 3, dtype="float64")
        pairs = [(i, j) for i in range(3) for j in range(3)]
        scores = np.array([[s[i], s[j]] for i, j in pairs])
        each = per_sample(losses, np.zeros(9, int), scores)
        return sum(p[i] * noise[j] * v for (i, j), v in zip(pairs, each, strict=True))

    found = optimize.minimize(expected, np.zeros(3), tol=1e-12)
    np.testing.assert_allclose(np.exp(found.x), p, atol=1e-5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`temperature` .*Received: 0"):
        InfoNCE(0)
    with pytest.raises(ValueError, match="`noise_probability` .*Received: 2"):
        NoiseContrastiveEstimation(2)


def test_in_batch_contrast_trains():
    """The scores of a batch against itself: their number is not known before it."""
    x = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
    inputs = keras.Input((6,))
    features = keras.layers.UnitNormalization()(keras.layers.Dense(4)(inputs))
    scores = keras.layers.Lambda(
        lambda f: ops.matmul(f, ops.transpose(f)), output_shape=(None,)
    )(features)
    model = keras.Model(inputs, scores)
    assert model.output_shape == (None, None)
    model.compile("adam", InfoNCE(), run_eagerly=False)
    y = np.roll(np.arange(24), 12)
    history = model.fit(x, np.tile(y, 2), batch_size=24, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("soft", [False, True])
def test_nce_leaves_out_a_score_of_minus_infinity(soft):
    s = np.array([[0.8, 0.1, -0.2, -np.inf], [0.3, -np.inf, 0.5, 1.0]])
    y = np.array([0, 2])
    loss = NoiseContrastiveEstimation(0.1, reduction=None, dtype="float64")
    labels = np.eye(4)[y] if soft else y
    value, gradient = value_and_gradient(loss, labels, s, "float64")
    x = np.where(np.eye(4)[y] == 1, -1, 1) * (s - np.log(0.3))
    np.testing.assert_allclose(value, np.log1p(np.exp(x)).sum(-1), rtol=1e-12)
    assert np.isfinite(gradient).all()
    assert not gradient[np.isinf(s)].any()
