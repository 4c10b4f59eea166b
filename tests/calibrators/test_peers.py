"""Against other libraries and other optimizers."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

from keras_calib import calibrators, noise_matched_gamma
from tests.calibrators import data


def binary(n=400):
    rng = np.random.default_rng(42)
    d = 3 * rng.normal(size=n)
    y = (rng.uniform(size=n) < 1 / (1 + np.exp(-(0.6 * d + 0.3)))).astype(int)
    return d, y


def at(layer, p):
    return convert_to_numpy(layer(np.array(p)[:, None]))[:, 0]


def test_platt_against_scikit_learn():
    d, y = binary()
    w = np.random.default_rng(0).uniform(0.5, 2, len(y))
    for weight in (None, w):
        layer = calibrators.PlattScaling(dtype="float64").fit(d[:, None], y, weight)
        peer = _SigmoidCalibration().fit(d, y, weight)
        slope, intercept = (v.item() for v in layer.get_weights())
        assert slope == pytest.approx(-peer.a_, rel=1e-5)
        assert intercept == pytest.approx(-peer.b_, rel=1e-5)


def test_isotonic_against_scikit_learn():
    d, y = binary()
    p = np.round(1 / (1 + np.exp(-d)), 2)  # with ties
    w = np.random.default_rng(0).uniform(0.5, 2, len(y))
    layer = calibrators.IsotonicCalibration(from_logits=False, dtype="float64")
    layer.fit(p[:, None], y, w)
    grid = np.linspace(0, 1, 1001)
    peer = IsotonicRegression(out_of_bounds="clip").fit(p, y, w).predict(grid)
    least = 1 / (w.sum() + 2)
    # The ends, that scikit-learn leaves at 0 and 1, are kept off them: so is what
    # is interpolated to them.
    np.testing.assert_allclose(at(layer, grid), peer, atol=least + 1e-12)
    inner = (peer > 0.1) & (peer < 0.9)
    np.testing.assert_allclose(at(layer, grid[inner]), peer[inner], atol=1e-12)


def test_beta_against_betacal():
    """betacal 1.1.0, whose own solver stops at about 3e-4."""
    d, y = binary()
    p = 1 / (1 + np.exp(-d))
    layer = calibrators.BetaCalibration(from_logits=False, dtype="float64")
    found = at(layer.fit(p[:, None], y), [0.05, 0.33, 0.52, 0.77, 0.99])
    betacal = [
        0.20136992490494768,
        0.4642837372006242,
        0.5815563062957357,
        0.7409128295099868,
        0.9670760469195508,
    ]
    np.testing.assert_allclose(found, betacal, atol=3e-4)


def test_beta_at_the_optimum_and_at_its_bounds():
    """SciPy's L-BFGS-B on the same likelihood."""
    d, y = binary()
    for p in (expit(d), expit(-d), np.clip(expit(d), 0.3, 0.31)):
        x = np.stack([np.log(p), -np.log1p(-p), np.ones_like(p)], -1)

        def loss(theta, x=x):
            return np.mean(np.logaddexp(0, x @ theta) - y * (x @ theta))

        bounds = [(0, None), (0, None), (None, None)]
        peer = minimize(loss, [1.0, 1.0, 0.0], bounds=bounds, tol=1e-14)
        layer = calibrators.BetaCalibration(from_logits=False, dtype="float64")
        layer.fit(p[:, None], y)
        theta = np.concatenate([v.ravel() for v in layer.get_weights()])
        assert (theta[:2] >= 0).all()
        assert loss(theta) <= peer.fun + 1e-9


def test_histogram_against_netcal():
    """netcal 1.4.0, HistogramBinning(10), off the edges of the bins."""
    d, y = binary()
    p = 1 / (1 + np.exp(-d))
    layer = calibrators.HistogramBinning(10, from_logits=False, dtype="float64")
    found = at(layer.fit(p[:, None], y), [0.05, 0.33, 0.52, 0.77, 0.99])
    netcal = [
        0.16483516483516483,
        0.5,
        0.65,
        0.6944444444444444,
        0.9058823529411765,
    ]
    np.testing.assert_allclose(found, netcal, rtol=1e-12)


def test_quantile_bins_hold_as_many_each():
    d, y = binary()
    layer = calibrators.HistogramBinning(8, "equal_mass", dtype="float64")
    edges, rates = layer.fit(d[:, None], y).get_weights()
    index = np.searchsorted(edges[0], d, side="right")
    np.testing.assert_array_equal(np.bincount(index), 50)
    np.testing.assert_allclose(rates[0], np.bincount(index, y) / 50)


ODIR = {"off_diagonal_penalty": 0.3, "bias_penalty": 0.05}


def log_probabilities(z):
    return log_softmax(z, axis=-1)


def square(scale):
    return scale.reshape(3, 3)


@pytest.mark.parametrize(
    ("cls", "penalties", "inputs", "matrix"),
    [
        (calibrators.VectorScaling, {"bias_penalty": 0.02}, np.array, np.diag),
        (calibrators.MatrixScaling, ODIR, np.array, square),
        (calibrators.DirichletCalibration, ODIR, log_probabilities, square),
    ],
)
def test_linear_maps_against_scipy(cls, penalties, inputs, matrix):
    """The same penalized likelihood by SciPy's BFGS, from another start."""
    z, y = data.made(800, 3)
    k, x = 3, inputs(z)
    layer = cls(**penalties, dtype="float64").fit(z, y)

    def objective(theta):
        w, bias = matrix(theta[:-k]), theta[-k:]
        off = w[~np.eye(k, dtype=bool)]
        penalty = penalties.get("off_diagonal_penalty", 0.0) * np.mean(off**2)
        penalty += penalties["bias_penalty"] * np.mean(bias**2)
        log_p = log_softmax(x @ w.T + bias, axis=-1)
        return -log_p[np.arange(len(y)), y].mean() + penalty

    theta = np.concatenate([v.ravel() for v in layer.get_weights()])
    peer = minimize(objective, np.full(len(theta), 0.1), options={"gtol": 1e-7})
    assert objective(theta) <= peer.fun + 1e-10
    np.testing.assert_allclose(theta, peer.x, atol=2e-4)


def test_a_class_no_label_names():
    """Vector scaling holds its bias, and its probability stays above 0."""
    z, y = data.made(600, 4)
    z, y = z[y < 3], y[y < 3]
    layer = calibrators.VectorScaling().fit(z, y)
    assert convert_to_numpy(layer(z.astype("float32"))).max(0)[3] > 1e-6


def test_penalties_must_not_be_negative():
    with pytest.raises(ValueError, match="`bias_penalty` must be"):
        calibrators.VectorScaling(-1)
    with pytest.raises(ValueError, match="`off_diagonal_penalty` must be"):
        calibrators.MatrixScaling(-1)


def test_arguments_of_binning():
    for num_bins in (1, 2.5):
        with pytest.raises(ValueError, match="`num_bins` must be a whole number >= 2"):
            calibrators.HistogramBinning(num_bins)
    for num_knots in (1, -3, 2.5):
        with pytest.raises(ValueError, match="`num_knots` must be a whole number >= 2"):
            calibrators.IsotonicCalibration(num_knots)
    with pytest.raises(ValueError, match="`binning` must be one of"):
        calibrators.HistogramBinning(binning="mass")
    z, y = data.made(300, 3)
    layer = calibrators.IsotonicCalibration(num_knots=2)
    with pytest.raises(ValueError, match="room for 2"):
        layer.fit(z, y)


def test_noise_correction_both_ways():
    """q = (1 - alpha) p + alpha / K, and back."""
    k, gamma = 10, 0.0625
    alpha = k * gamma / (1 + (k - 1) * gamma)
    assert alpha == pytest.approx(0.4)  # the table's noise of rate .4
    p = np.random.default_rng(0).dirichlet(np.ones(k), 50)
    forward = calibrators.NoiseCorrection(gamma, from_logits=False, dtype="float64")
    q = convert_to_numpy(forward(p))
    np.testing.assert_allclose(q, (1 - alpha) * p + alpha / k, rtol=1e-12)
    back = calibrators.NoiseCorrection(gamma, True, from_logits=False, dtype="float64")
    np.testing.assert_allclose(convert_to_numpy(back(q)), p, atol=1e-12)
    sure = np.eye(k)[:1]
    assert convert_to_numpy(forward(sure)).max() == pytest.approx(
        1 / (1 + (k - 1) * gamma)
    )


def test_the_fitted_gamma_is_the_noise_of_the_labels():
    rng = np.random.default_rng(0)
    z = 3 * rng.normal(size=(20000, 5))
    y = (z + rng.gumbel(size=z.shape)).argmax(-1)
    noisy = np.where(rng.uniform(size=len(y)) < 0.3, rng.integers(0, 5, len(y)), y)
    layer = calibrators.NoiseCorrection(dtype="float64").fit(z, noisy)
    gamma = layer.get_weights()[0]
    assert gamma == pytest.approx(0.3 / (5 - 4 * 0.3), abs=0.005)

    def nll(g):
        q = (g + (1 - g) * np.exp(log_softmax(z, -1))) / (1 + 4 * g)
        return -np.log(q[np.arange(len(y)), noisy]).mean()

    assert nll(gamma) <= min(nll(gamma * 1.001), nll(gamma / 1.001))
    clean = calibrators.NoiseCorrection().fit(z, z.argmax(-1))
    assert clean.get_weights()[0] == 0
    given = calibrators.NoiseCorrection(0.2).fit(z, noisy)
    assert given.get_weights()[0] == pytest.approx(0.2)


def test_noise_correction_is_what_gamma_cross_entropy_trains():
    """GammaCE is the cross-entropy of q, up to a factor and a constant."""
    from keras_calib import GammaCE

    z, y = data.made(50, 4)
    for gamma in (0.01, 0.3):
        q = convert_to_numpy(calibrators.NoiseCorrection(gamma, dtype="float64")(z))
        loss = GammaCE(gamma, from_logits=True, reduction=None, dtype="float64")(y, z)
        expected = -np.log(q[np.arange(len(y)), y]) - np.log(1 + 3 * gamma)
        found = convert_to_numpy(loss)
        np.testing.assert_allclose(found, expected / (1 - gamma), rtol=1e-9, atol=1e-12)


TRANSITION = [[0.9, 0.1, 0.0], [0.0, 0.6, 0.4], [0.2, 0.0, 0.8]]


@pytest.mark.parametrize("inverse", [False, True])
def test_noise_of_a_matrix_both_ways(inverse, tmp_path):
    """q = p T, and back; saved, loaded, fitted and in a model."""
    p = np.random.default_rng(0).dirichlet(np.ones(3), (20, 2))
    q = p @ np.array(TRANSITION)
    given, expected = (q, p) if inverse else (p, q)
    arguments = {"inverse": inverse, "transition": TRANSITION, "from_logits": False}
    layer = calibrators.NoiseCorrection(**arguments, dtype="float64")
    np.testing.assert_allclose(convert_to_numpy(layer(given)), expected, atol=1e-12)
    assert not layer.keeps_argmax
    labels = np.arange(40).reshape(20, 2) % 3
    layer.fit(given, labels)
    np.testing.assert_allclose(convert_to_numpy(layer(given)), expected, atol=1e-12)
    model = keras.Sequential([keras.Input((2, 3)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].transition == TRANSITION
    np.testing.assert_allclose(loaded.predict(given, verbose=0), expected, atol=1e-6)
    with pytest.raises(ValueError, match="for 3 classes. Received: 2 classes"):
        layer(given[..., :2] / given[..., :2].sum(-1, keepdims=True))
    with pytest.raises(ValueError, match="for 3 classes. Received: 4 classes"):
        calibrators.NoiseCorrection(**arguments).fit(np.eye(4), range(4))
    # What no noise of this kind gives becomes the nearest that it does: no NaN.
    sure = convert_to_numpy(layer(np.eye(3)))
    np.testing.assert_allclose(sure.sum(-1), 1, atol=1e-12)
    assert (sure >= 0).all()


def test_a_symmetric_matrix_is_a_gamma():
    z = data.made(50, 4)[0]
    matrix = 0.6 * np.eye(4) + 0.1
    gamma = noise_matched_gamma(0.4, 4)
    for inverse in (False, True):
        found = [
            convert_to_numpy(calibrators.NoiseCorrection(g, inverse, t)(z))
            for g, t in ((gamma, None), (None, matrix))
        ]
        np.testing.assert_allclose(*found, atol=2e-6)


def test_arguments_of_noise():
    with pytest.raises(ValueError, match="Give a gamma or a transition. Received: g"):
        calibrators.NoiseCorrection(0.1, transition=np.eye(2))
    with pytest.raises(ValueError, match="a transition that is not singular"):
        calibrators.NoiseCorrection(inverse=True, transition=np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="`transition` must have shape"):
        calibrators.NoiseCorrection(transition=[0.5, 0.5])
    with pytest.raises(ValueError, match="inverse needs a gamma"):
        calibrators.NoiseCorrection(inverse=True)
    with pytest.raises(ValueError, match="`gamma` must be a number in"):
        calibrators.NoiseCorrection(1.5)
