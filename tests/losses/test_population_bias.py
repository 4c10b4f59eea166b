"""What each loss makes of a true probability of .7, and the figures of D2 and D3."""

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit

from keras_calib import (
    CategoricalMeanAbsoluteError,
    ConfidencePenaltyCE,
    ExpectedAccuracyLoss,
    FocalCE,
    GammaCE,
    GeneralizedCE,
    LabelSmoothingCE,
    MulticlassHinge,
    PolyLoss,
)
from tests.losses.tools import per_sample, value_and_gradient

TRUTH = np.array([0.7, 0.3])

# loss -> {arguments: the p that minimizes its expectation}
BIASES = {
    GammaCE: {0.0: 0.7, 0.01: 0.7040, 0.1: 0.7444, 0.2: 0.8, 0.3: 0.8714, 0.5: 1.0},
    GeneralizedCE: {0.1: 0.7194, 0.3: 0.7704, 0.5: 0.8448, 0.7: 0.9440},
    CategoricalMeanAbsoluteError: {(): 1.0},
    PolyLoss: {1: 0.7707, 2: 0.8187, -1: 0.6044},
    FocalCE: {0.5: 0.6511, 1.0: 0.6172, 2.0: 0.5785, 3.0: 0.5582, 5.0: 0.5380},
    LabelSmoothingCE: {0.1: 0.68, (0.1, "others"): 0.66},
    ConfidencePenaltyCE: {0.1: 0.6834, 0.3: 0.6562},
    ExpectedAccuracyLoss: {"gumbel": 1.0},
}
ROWS = [
    (loss, args if isinstance(args, tuple) else (args,), p)
    for loss, of_args in BIASES.items()
    for args, p in of_args.items()
]


def minimizer(loss, low=0.5, high=1.0):
    """Returns argmin p of the expected loss, by a grid that closes in."""
    for _ in range(4):
        p = np.linspace(low, high, 401)
        expected = per_sample(
            loss, np.tile(TRUTH, (401, 1)), np.stack([p, 1 - p], axis=-1)
        )
        best = np.argmin(expected)
        low, high = p[max(best - 1, 0)], p[min(best + 1, 400)]
    return p[best]


@pytest.mark.parametrize(("loss", "args", "expected"), ROWS)
def test_population_bias(loss, args, expected):
    found = minimizer(loss(*args, dtype="float64"))
    assert found == pytest.approx(expected, abs=5.1e-5)


def test_log_expected_accuracy_is_proper_for_its_own_link():
    """-log P of Gaussian noise: P of the two classes at the minimum is the truth."""
    loss = ExpectedAccuracyLoss(log=True, from_logits=True, dtype="float64")
    error = ExpectedAccuracyLoss(from_logits=True, dtype="float64")
    z = optimize.minimize_scalar(
        lambda z: per_sample(loss, TRUTH[None], np.array([[z, 0.0]]))[0], tol=1e-10
    ).x
    p = 1 - per_sample(error, [0], np.array([[z, 0.0]]))[0]
    assert p == pytest.approx(0.7, abs=1e-6)


# Article 2's one-dimensional example: x = (-1/4, 0, 1/4), y = (-, -, +), f = k (x - b).

POINTS, SIGNS = np.array([-0.25, 0.0, 0.25]), np.array([0, 0, 1])


def total(loss, k, b):
    """The sum over the points, the model's two logits being 0 and k (x - b)."""
    f = k * (POINTS - np.reshape(b, (-1, 1)))
    labels = np.broadcast_to(SIGNS, f.shape)
    return per_sample(loss, labels, np.stack([0 * f, f], axis=-1)).sum(-1)


def best_b(loss, k, low=-1.0, high=6.0):
    found = optimize.minimize_scalar(
        lambda b: total(loss, k, b)[0],
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return found.x


CE = GammaCE(0.0, from_logits=True, dtype="float64")


@pytest.mark.parametrize(
    ("k", "expected", "digits"),
    [
        (1, 0.70008752413841437, 7),
        (2, 0.360428, 6),
        (4, 0.200734, 6),
        (10, 0.131244, 6),
        (200, 0.125, 6),
    ],
)
def test_one_dimensional_cross_entropy(k, expected, digits):
    assert best_b(CE, k) == pytest.approx(expected, abs=10.0**-digits)


def test_one_dimensional_inverse_temperature():
    """b* < 1/4, all three points right, exactly for k > 3.02523."""
    k = 3.025230450463859
    assert best_b(CE, 1.0001 * k) < 0.25 < best_b(CE, 0.9999 * k)
    b = best_b(CE, k)
    assert expit(k * (b - 0.25)) == pytest.approx(
        expit(-k * (b + 0.25)) + expit(-k * b), rel=1e-6
    )


@pytest.mark.parametrize(
    ("k", "low", "high", "value"),
    [(1, 0.75, 1.0, 1.75), (4, 0.0, 0.25, None), (8, 0.125, 0.125, 0.0)],
)
def test_one_dimensional_hinge(k, low, high, value):
    loss = MulticlassHinge("max", 1.0, dtype="float64")
    grid = np.arange(-160, 321) / 160
    totals = total(loss, k, grid)
    best = grid[totals <= totals.min() + 1e-12]
    assert (best.min(), best.max()) == (low, high)
    if value is not None:
        assert totals.min() == pytest.approx(value, abs=1e-12)


def exact(sigma):
    return ExpectedAccuracyLoss(sigma=sigma, from_logits=True, dtype="float64")


def test_one_dimensional_exact():
    """With sigma = 1 b* is 3.906, worse than cross-entropy's .7: sigma is the point."""
    assert best_b(exact(1.0), 1) == pytest.approx(3.906, abs=5e-4)
    sigma = 0.2201862653815584
    assert best_b(exact(0.999 * sigma), 1, -1, 0.5) < 0.25
    assert best_b(exact(1.001 * sigma), 1, 0.2, 1) > 0.25
    assert best_b(exact(0.02), 1, 0, 0.25) == pytest.approx(0.125, abs=1e-6)


# Article 3's numbers: logits (-1.5, .5, 5, -.5), label 2, epsilon .1.

ARTICLE_3 = np.array([[-1.5, 0.5, 5.0, -0.5]])


def smoothing(convention="uniform"):
    return LabelSmoothingCE(0.1, convention, from_logits=True, dtype="float64")


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(CE, 0.01656131), (smoothing("others"), 0.56656131), (smoothing(), 0.42906131)],
)
def test_article_3(loss, expected):
    assert per_sample(loss, [2], ARTICLE_3)[0] == pytest.approx(expected, abs=5e-9)


def test_article_3_gradient():
    """Most of .5666 is the target's entropy, .4349; the gradient pulls at z_2."""
    value, gradient = value_and_gradient(smoothing("others"), [2], ARTICLE_3, "float64")
    expected = [-0.0319, -0.0224, 0.0836, -0.0293]
    np.testing.assert_allclose(gradient[0], expected, atol=5e-5)
    target = np.array([0.1 / 3] * 2 + [0.9] + [0.1 / 3])
    entropy = -np.sum(target * np.log(target))
    assert entropy == pytest.approx(0.434944202, abs=5e-10)
    assert value - entropy == pytest.approx(0.131617106, abs=5e-10)
