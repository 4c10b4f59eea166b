"""The figures of the errata of D2, accuracy as a loss."""

from math import exp, log, sqrt

import numpy as np
from scipy import integrate, optimize
from scipy.special import log_softmax, softmax
from scipy.stats import norm

import keras_calib as kc
from tests.docs.errata.tools import (
    CE,
    D3,
    NEARLY_1,
    check,
    gamma_ce,
    least,
    of_logits,
    slope,
    smoothing,
    value,
    weight,
)
from tests.losses.tools import per_sample


@check("D2-1")
def _():
    moves = ([1, 0], [1, 1e-9]), ([0, 0], [0, 1e-9])
    (_, first), (tie, broken) = [map(np.argmax, pair) for pair in moves]
    return first, tie, broken


POINTS, SIGNS = np.array([-0.25, 0.0, 0.25]), np.array([-1, -1, 1])


def three_points(loss, k, b):
    f = k * (POINTS - b)
    return per_sample(loss, (SIGNS > 0).astype(int), np.stack([0 * f, f], -1)).sum()


@check("D2-2")
def _():
    b = least(lambda b: three_points(CE, 1, b), -1, 6)
    right = [np.mean(SIGNS * (POINTS - c) > 0) for c in (b, 0.1)]
    return b, *right


@check("D2-4")
def _():
    hinge = kc.MulticlassHinge("max", 1.0, dtype="float64")
    grid = np.arange(-160, 321) / 160
    totals = np.array([three_points(hinge, 1, b) for b in grid])
    flat = grid[totals <= totals.min() + 1e-12]
    zero = [np.maximum(0, -SIGNS * (POINTS - b)).sum() for b in (0.0, 0.25)]
    b = least(lambda b: three_points(CE, 1, b), -1, 6)
    return b, totals.min(), flat[0], flat[-1], *zero


@check("D2-5")
def _():
    def b(k):
        return least(lambda b: three_points(CE, k, b), -1, 1)

    k = optimize.brentq(lambda k: b(k) - 0.25, 2, 4, xtol=1e-5)
    return *map(b, (2, 4, 10, 1000)), k


@check("D2-6")
def _():
    equation_16 = np.maximum(0, -SIGNS * (POINTS - 0.3)).sum()
    return three_points(CE, 1000, 0.3) / 1000, equation_16


@check("D2-7")
def _():
    x, y = np.array([5, 6, 8, 8, 8]), np.array([1, 1, -1, -1, -1])

    def loss(b):
        return np.logaddexp(0, -y * 1000 * (x - b)).sum()

    b = least(loss, 7.9, 8.1)
    accuracy = [np.mean(y * (x - c) > 0) for c in (b, *np.linspace(4, 9, 51))]
    return b, accuracy[0], max(accuracy)


def exact(sigma=1.0, **kwargs):
    return kc.ExpectedAccuracyLoss(
        sigma=sigma, from_logits=True, dtype="float64", **kwargs
    )


@check("D2-9")
def _():
    b = least(lambda b: three_points(exact(), 1, b), 0, 6)
    sigma = optimize.brentq(
        lambda s: least(lambda b: three_points(exact(s), 1, b), 0, 0.6) - 0.25,
        0.2,
        0.25,
    )
    return b, sigma


MU = np.array([1.0, 0.2, -0.5])


def hit(mu, y=0):
    rivals = np.delete(mu, y)
    return integrate.quad(
        lambda e: norm.pdf(e) * norm.cdf(mu[y] - rivals + e).prod(), -10, 10
    )[0]


@check("D2-11")
def _():
    p = hit(MU)
    return p, 1 - of_logits(exact(), 0, MU)[0], sqrt(p * (1 - p) / 16)


@check("D2-12")
def _():
    by_hand = slope(lambda d: hit(MU + [d, 0, 0]), 0.0, 1e-4)
    log_p, gradient = of_logits(exact(log=True), 0, MU)
    return by_hand, exp(-log_p) * -gradient[0, 0]


@check("D2-13")
def _():
    gumbel = kc.ExpectedAccuracyLoss("gumbel", from_logits=True, dtype="float64")
    z = [1.0, 0.0]
    return norm.cdf(1), *(1 - of_logits(loss, 0, z)[0] for loss in (exact(), gumbel))


@check("D2-14")
def _():
    return -np.expm1(-exp(-10)) / exp(-10), exp(-exp(3))


@check("D2-15")
def _():
    pair = gamma_ce(0.0), gamma_ce(1.0)
    return [weight(pair[0], p) / weight(pair[1], p) for p in (0.99, 0.01)]


@check("D2-16")
def _():
    x = 0.9
    return abs(log(x) - (x - 1)), (1 - x) ** 2 / 2, (1 - x) ** 2 / (2 * x)


@check("D2-17")
def _():
    p = 0.2
    return 1 / p * p * -log(p), value(gamma_ce(0.0), p), weight(gamma_ce(0.0), p) / p


@check("D2-18")
def _():
    return [weight(gamma_ce(0.0), p) * (1 - p) for p in (NEARLY_1, 1e-6)]


@check("D2-19")
def _():
    return (
        value(gamma_ce(0.0), 0.5),
        value(gamma_ce(1.0), 0.5),
        value(gamma_ce(0.0), 1.0),
    )


@check("D2-20")
def _():
    return smoothing("others")[0], smoothing("uniform")[0]


@check("D2-21")
def _():
    log_p, e = log_softmax(D3), 0.1 * 4 / 3
    to_label, to_uniform = -log_p[2], -log(4) - log_p.mean()
    right = (1 - e) * to_label + e * (to_uniform + log(4))
    return smoothing("others")[0], right, 0.9 * to_label + 0.1 * to_uniform


@check("D2-22")
def _():
    return 2 * 0.5 + 3 * log(2), value(kc.PolyLoss(2.0, dtype="float64"), 0.5)


@check("D2-23")
def _():
    from sklearn.metrics import roc_auc_score

    return roc_auc_score([1, 0], [1.0, 1.0]), float(1.0 > 1.0)


@check("D2-24")
def _():
    entropy = kc.PredictiveEntropy(dtype="float64")
    entropy.update_state([0], [[0.5, 0.5]])
    return float(entropy.result()), float(entropy.result()) / log(2)


@check("D2-25")
def _():
    theta, seen = 0.0, {}
    for step in range(1, 10**5 + 1):
        theta += 1 / (1 + exp(theta))
        seen[step] = theta
    return seen[10**3], seen[10**4], theta, 1e5 * np.log1p(exp(-theta))


@check("D2-26")
def _():
    z = np.log([0.5, 0.3, 0.2])
    mixed = slope(lambda d: of_logits(CE, 0, z + [0, d, 0])[1][0, 0], 0.0)
    pulls = [-weight(gamma_ce(0.0), p) * (1 - p) for p in (0.5, 0.01)]
    return mixed, np.diag(np.ones(3))[0, 1], *pulls


@check("D2-27")
def _():
    scores = np.array([[0.8, 0.1, -0.2, 0.3]])
    pair = (
        kc.InfoNCE(0.1, dtype="float64"),
        kc.NoiseContrastiveEstimation(0.01, 0.1, dtype="float64"),
    )
    return [per_sample(loss, [0], scores)[0] for loss in pair]


@check("D2-28")
def _():
    student, teacher = np.array([1, 2, -0.5]), np.array([2.5, 0.3, -1])

    def pull(t):
        return np.linalg.norm(softmax(student / t) - softmax(teacher / t)) / t

    return pull(1), pull(4), pull(20), 16 * pull(4), 400 * pull(20)
