"""GHM-C, its moving average of the counts, and what it ignores."""

import keras
import numpy as np
import pytest

from keras_calib import GradientHarmonizedBCE
from tests.losses.tools import per_sample, value_and_gradient

# Section 24 of the specification.
Z = np.array([-4, -3.5, -3, -5, -4.2, 2, 0.1, -1])[:, None]
Y = np.array([0, 0, 0, 0, 0, 0, 1, 1])[:, None]
BCE = np.log1p(np.exp(np.where(Y == 1, -Z, Z)))[:, 0]


def harmonized(*args, **kwargs):
    return GradientHarmonizedBCE(*args, from_logits=True, dtype="float64", **kwargs)


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [("nonempty", 1.027050954704952), ("all", 0.41082038188198)],
)
def test_reference(normalization, expected):
    loss = harmonized(10, normalization=normalization)
    assert float(loss(Y, Z)) == pytest.approx(expected, abs=3e-15)
    assert BCE.mean() == pytest.approx(0.525334207, abs=5e-10)


def test_weights_and_gradient():
    """.4 for the five easy negatives and 2 for the other three."""
    loss = harmonized(10, reduction=None)
    value, gradient = value_and_gradient(loss, Y, Z, "float64")
    weights = np.array([0.4] * 5 + [2.0] * 3)
    np.testing.assert_allclose(value, weights * BCE, rtol=1e-13)
    sigmoid = 1 / (1 + np.exp(-Z))
    np.testing.assert_allclose(gradient, weights[:, None] * (sigmoid - Y), rtol=1e-13)
    of_p = GradientHarmonizedBCE(10, dtype="float64")
    np.testing.assert_allclose(per_sample(of_p, Y, sigmoid), value, rtol=1e-12)


def test_ignores_labels():
    extra = np.concatenate([Y, [[-1], [-1]]]), np.concatenate([Z, [[9.0], [-2.0]]])
    loss = harmonized(10, ignore_class=-1)
    assert float(loss(*extra)) == pytest.approx(float(harmonized(10)(Y, Z)), rel=1e-14)
    value, gradient = value_and_gradient(loss, np.full((3, 1), -1), Z[:3], "float64")
    assert value == 0.0 and not gradient.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_is_finite_at_extreme_logits(dtype):
    z = np.array([[1e4, -1e4, 0.0, 88.0]])
    for y in (0.0, 0.5, 1.0):
        loss = GradientHarmonizedBCE(from_logits=True, dtype=dtype)
        value, gradient = value_and_gradient(loss, np.full((1, 4), y), z, dtype)
        assert np.isfinite(value) and np.isfinite(gradient).all()


def test_momentum_is_that_of_the_authors_code():
    """A <- m A + (1 - m) R from 0, for bins that are not empty: first batch x 4."""
    if keras.backend.backend() == "jax":
        with pytest.raises(ValueError, match="On JAX .* use momentum=0"):
            harmonized(10, 0.75)
        return
    loss = harmonized(10, 0.75)
    value, _ = value_and_gradient(loss, Y, Z, "float64")
    assert value == pytest.approx(4 * 1.027050954704952, rel=1e-6)
    seen = np.bincount((np.abs(1 / (1 + np.exp(-Z)) - Y) * 10).astype(int)[:, 0])
    expected = 0.25 * np.pad(seen, (0, 10 - len(seen)))
    np.testing.assert_allclose(loss.counts, expected)
    value_and_gradient(loss, Y[:5], Z[:5], "float64")
    expected[0] = 0.75 * expected[0] + 0.25 * 5
    np.testing.assert_allclose(loss.counts, expected)


def test_momentum_rests_in_evaluation_and_is_saved(tmp_path):
    if keras.backend.backend() == "jax":
        pytest.skip("keeps no state on JAX")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", GradientHarmonizedBCE(10, 0.75, from_logits=True))
    x = np.random.default_rng(0).normal(size=(64, 2))
    y = (x[:, :1] > 0).astype("float32")
    model.evaluate(x, y, verbose=0)
    assert not any(model.loss.counts)
    model.fit(x, y, verbose=0)
    counts = model.loss.counts
    assert sum(counts) > 0
    model.evaluate(x, y, verbose=0)
    assert model.loss.counts == counts
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.loss.counts == counts
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_without_a_momentum_there_is_no_state():
    loss = harmonized(10)
    assert loss.counts is None
    value_and_gradient(loss, Y, Z, "float64")
    assert loss.counts is None and loss.get_config()["counts"] is None


def test_bad_arguments():
    with pytest.raises(ValueError, match="`num_bins` must be a whole.*Received: 2.5"):
        GradientHarmonizedBCE(2.5)
    with pytest.raises(ValueError, match="`num_bins` .*Received: 0"):
        GradientHarmonizedBCE(0)
    with pytest.raises(ValueError, match="`momentum` .*Received: 1.0"):
        GradientHarmonizedBCE(momentum=1.0)
    with pytest.raises(ValueError, match="'nonempty', 'all'. Received: 'paper'"):
        GradientHarmonizedBCE(normalization="paper")
    with pytest.raises(ValueError, match="of a momentum above 0. Received: momentum=0"):
        GradientHarmonizedBCE(10, counts=[1, 2, 3])
    with pytest.raises(ValueError, match="same shape"):
        GradientHarmonizedBCE()(np.zeros((2, 3)), np.zeros((2, 4)))
