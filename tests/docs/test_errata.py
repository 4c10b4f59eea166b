"""Every figure of docs/errata.md, computed anew and compared to its last digit."""

import re
from math import exp, log, sqrt
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from scipy import integrate, optimize
from scipy.special import expit, log_softmax, logsumexp, softmax
from scipy.stats import norm

import keras_calib as kc
from keras_calib.callbacks import linear
from tests.backends import tensorflow_only
from tests.losses.tools import per_sample, value_and_gradient

pytestmark = tensorflow_only

PAGE = Path(__file__).parents[2].joinpath("docs/errata.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"\n### (D\d-\d+)\n(.*?)(?=\n##|\Z)", PAGE, re.DOTALL))
FIGURES = {
    name: re.findall(r"`(-?[\d.]+)`", text.split("- Check:")[1])
    for name, text in ENTRIES.items()
    if "- Check: none" not in text
}
CHECKS = {}


def check(name):
    def keep(function):
        CHECKS[name] = function
        return function

    return keep


def known(p):
    return [
        ops.convert_to_tensor(np.asarray(x, "float64")) for x in (np.log(p), p, 1 - p)
    ]


def value(loss, p):
    return ops.convert_to_numpy(loss.value(*known(np.asarray(p, "float64"))))


def weight(loss, p):
    """W = -dl/dlog p."""
    return ops.convert_to_numpy(loss.weight(*known(np.asarray(p, "float64"))))


def gamma_ce(gamma, **kwargs):
    return kc.GammaCE(gamma, dtype="float64", **kwargs)


def of_logits(loss, y, z):
    return value_and_gradient(loss, [y], [z], "float64")


def minimum(loss, truth=0.7):
    p = np.linspace(0.5, 1.0, 50001)
    p[-1] = 1 - 1e-12
    return p[np.argmin(truth * value(loss, p) + (1 - truth) * value(loss, 1 - p))]


def slope(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


def least(f, low, high):
    return optimize.minimize_scalar(
        f, bounds=(low, high), method="bounded", options={"xatol": 1e-11}
    ).x


SURE = 1 - 1e-6
V4 = [1.0, 2.0, 0.5, -1.0]
D3 = np.array([-1.5, 0.5, 5.0, -0.5])
GRID = np.append(1e-12, np.linspace(1e-6, 1 - 1e-6, 2000001))


@check("D1-1")
def _():
    return value(gamma_ce(0.999999), 0.5), value(gamma_ce(1.0), 0.5)


@check("D1-2")
def _():
    p, g = 0.3, 0.2
    u = g + (1 - g) * p
    last = (1 - p) / ((1 - g) * u)
    found = slope(lambda g: value(gamma_ce(g), p), g)
    return log(u) / (1 - g) ** 2 - last, found, -log(u) / (1 - g) ** 2 - last


@check("D1-3")
def _():
    return [value(gamma_ce(g), 0.1) for g in (0.0, 0.1, 0.5, 1.0)]


@check("D1-4")
def _():
    pull = weight(gamma_ce(0.1), GRID) * (1 - GRID)
    return pull.max(), GRID[pull.argmax()], weight(gamma_ce(0.0), 1e-6) * (1 - 1e-6)


@check("D1-5")
def _():
    loss = gamma_ce(0.1, floor=0.3)
    knee = optimize.brentq(lambda p: weight(gamma_ce(0.1), p) - 0.3, 1e-3, 0.9)
    return knee, value(loss, 0.01), -slope(lambda s: value(loss, exp(s)), log(0.01))


@check("D1-6")
def _():
    told, learnt = (kc.gamma_presets()[n] for n in ("writingprompts", "iwslt14"))
    return told.gamma, learnt.gamma, learnt.floor


@check("D1-7")
def _():
    log_p = log_softmax(V4)
    by_hand = 0.9 * value(gamma_ce(0.1), exp(log_p[0])) - 0.1 * log_p.mean()
    loss = gamma_ce(0.1, label_smoothing=0.1, from_logits=True)
    return weight(gamma_ce(0.1), GRID).max(), by_hand, of_logits(loss, 0, V4)[0]


@check("D1-8")
def _():
    top, each = kc.ExpectedCalibrationError(), kc.ClasswiseECE()
    for metric in (top, each):
        metric.update_state([[0.6, 0.1, 0.3]], [[0.6, 0.3, 0.1]])
    return float(top.result()), float(each.result())


@check("D1-9")
def _():
    return [minimum(gamma_ce(g)) for g in (0.1, 0.2, 0.5)]


def equation_32(p, g):
    return -log(p) - g / ((1 - g) ** 2 * p) + g**2 / (2 * (1 - g) ** 3 * p**2)


@check("D1-10")
def _():
    return value(gamma_ce(0.1), 0.05), equation_32(0.05, 0.1)


@check("D1-11")
def _():
    p, g = 0.9, 0.1
    r = (1 - p) / p
    series = -log(p) - g * (log(p) + r) - g**2 * (log(p) + r - r**2 / 2)
    return value(gamma_ce(g), p), equation_32(p, g), series


@check("D1-12")
def _():
    return -0.01 * (log(0.1) + 9), weight(gamma_ce(0.1), 0.999)


@check("D1-13")
def _():
    return 0.5**2 / 0.5, weight(kc.FocalCE(2.0, dtype="float64"), 0.5) / 0.5


@check("D1-14")
def _():
    w = [weight(gamma_ce(g), 0.1) for g in (0.5, 0.0)]
    return w[1] / w[0], w[0] / w[1]


@check("D1-15")
def _():
    loss = gamma_ce(0.2)
    return -slope(lambda p: weight(loss, p) / p, 0.3), 0.8 / 0.44**2


@check("D1-16")
def _():
    z = np.linspace(-30, 30, 600001)
    p = expit(z)
    gradient = [-weight(gamma_ce(g), p) * expit(-z) for g in (0.1, 0.0)]
    curve, ce = (np.gradient(x, z[1] - z[0]) for x in gradient)
    zero = np.interp(0.0, curve[300000 - 60000 : 300000], p[300000 - 60000 : 300000])
    return curve.min(), curve.max(), zero, ce.max()


@check("D1-17")
def _():
    start = (value(gamma_ce(3e-9), 0.1) - value(gamma_ce(0.0), 0.1)) / 3e-9
    k, g, p = 10, 0.1, 0.3
    a = kc.gamma_matched_noise(g, k)
    likelihood = -log((1 - a) * p + a / k) - log(1 + (k - 1) * g)
    return start, value(gamma_ce(g), p), likelihood / (1 - g)


@check("D1-18")
def _():
    loss = gamma_ce(0.1)

    def risk(p):
        return 0.7 * value(loss, p) + 0.3 * value(loss, 1 - p)

    return risk(0.7), risk(minimum(loss))


@check("D1-19")
def _():
    h = -0.7 * log(0.7) - 0.3 * log(0.3)
    ce = -0.7 * log(0.9) - 0.3 * log(0.1)
    return h, ce, 0.7 * log(0.7 / 0.9) + 0.3 * log(0.3 / 0.1)


def mixup(gamma):
    p, t = [[0.6, 0.3, 0.1]], [[0.7, 0.3, 0.0]]
    return per_sample(gamma_ce(gamma), np.array(t), np.array(p))[0]


@check("D1-20")
def _():
    return mixup(0.0), -0.7 * log(0.6) - 0.3 * log(0.4)


@check("D1-21")
def _():
    return mixup(0.1), -log(0.1 + 0.9 * 0.7 * 0.6) / 0.9, mixup(0.0), -log(0.7 * 0.6)


@check("D1-22")
def _():
    return 0.5 * 4 / 5, linear(0.0, 0.5)(4 / 4)


@check("D1-23")
def _():
    over, under = (
        kc.BinStatistics(weight=[10], confidence=[c], hits=[h])
        for c, h in ((9, 6), (6, 9))
    )
    return over.ece(), over.gap(), under.ece(), under.gap()


@check("D1-25")
def _():
    theta = 0.99 ** np.arange(1, 11)
    return theta.mean() ** 2 / 2, 1 / (2 * 10), 1 / (2 * 0.01 * 10)


@check("D1-26")
def _():
    return [
        sqrt(2) * (weight(gamma_ce(g), GRID) * (1 - GRID)).max() for g in (0.0, 0.1)
    ]


@check("D1-27")
def _():
    return value(gamma_ce(0.0), 0.5), 1 - 0, -log(1.0), 1 - 1, value(gamma_ce(1.0), 0.5)


@check("D1-28")
def _():
    def code(z):
        return -np.log(np.clip(softmax(z)[0], 1e-10, 1.0))

    z = np.array([-20.0, 20.0])
    kept = of_logits(gamma_ce(0.0, from_logits=True), 0, z)
    moved = slope(lambda d: code(z + [d, 0.0]), 0.0)
    return code(z), moved, kept[0], *kept[1][0]


@check("D1-29")
def _():
    return [kc.noise_matched_gamma(eta, 10) for eta in (0.1, 0.3, 0.5)]


@check("D1-30")
def _():
    loss = gamma_ce(0.1, formulation="stop_gradient")
    return [value(loss, p) for p in (1e-6, 0.1, 0.9)]


@check("D2-1")
def _():
    moves = ([1, 0], [1, 1e-9]), ([0, 0], [0, 1e-9])
    (_, first), (tie, broken) = [map(np.argmax, pair) for pair in moves]
    return first, tie, broken


POINTS, SIGNS = np.array([-0.25, 0.0, 0.25]), np.array([-1, -1, 1])


def three_points(loss, k, b):
    f = k * (POINTS - b)
    return per_sample(loss, (SIGNS > 0).astype(int), np.stack([0 * f, f], -1)).sum()


CE = gamma_ce(0.0, from_logits=True)


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
    sixteen = np.maximum(0, -SIGNS * (POINTS - 0.3)).sum()
    return three_points(CE, 1000, 0.3) / 1000, sixteen


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
    return [weight(gamma_ce(0.0), p) * (1 - p) for p in (SURE, 1e-6)]


@check("D2-19")
def _():
    return (
        value(gamma_ce(0.0), 0.5),
        value(gamma_ce(1.0), 0.5),
        value(gamma_ce(0.0), 1.0),
    )


def smoothing(convention):
    loss = kc.LabelSmoothingCE(0.1, convention, from_logits=True, dtype="float64")
    return of_logits(loss, 2, D3)


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


@check("D3-1")
def _():
    return (of_logits(CE, 2, D3)[0],)


@check("D3-2")
def _():
    return smoothing("others")[0], smoothing("uniform")[0]


@check("D3-3")
def _():
    target = np.array([0.1 / 3, 0.1 / 3, 0.9, 0.1 / 3])
    entropy = -(target * np.log(target)).sum()
    loss, gradient = smoothing("others")
    return entropy, loss - entropy, *gradient[0]


@check("D4-1")
def _():
    return -(log(0.9) + log(0.1)) / 2, -log(0.5)


Z = [1.0, 2.0, 0.5]


@check("D4-3")
def _():
    return (of_logits(kc.MulticlassHinge("max", 0.0, dtype="float64"), 0, Z)[0],)


@check("D4-4")
def _():
    soft = kc.MulticlassHinge("softplus", 0.0, dtype="float64")
    printed = log(1 + log(exp(2) + exp(0.5)) / exp(1))
    return printed, of_logits(soft, 0, Z)[0], of_logits(CE, 0, Z)[0]


@check("D4-5")
def _():
    return [logsumexp(z) - 2 for z in ([2, 0.5], [2, 2])]


@check("D4-6")
def _():
    c = np.array([0.6, 0.3, -0.1])
    left = np.logaddexp(0, logsumexp(30 * c[1:]) - 30 * (c[0] - 0.35))
    return left, of_logits(kc.AdditiveMarginSoftmax(0.35, 30.0, dtype="float64"), 0, c)[
        0
    ]


@check("D5-1")
def _():
    z = log(0.3 / 0.7)
    loss = kc.GammaBCE(0.0, from_logits=True, dtype="float64")
    return 1 - 0.3, value_and_gradient(loss, [[1.0]], [[z]], "float64")[1][0, 0]


@check("D5-2")
def _():
    def factor(y, p_t):
        focal = kc.BinaryFocalCE(2.0, alpha=0.25, dtype="float64")
        p = p_t if y else 1 - p_t
        return per_sample(focal, [[y]], [[p]])[0] / -log(p_t)

    return [factor(y, p_t) for p_t in (0.1, 0.9) for y in (1, 0)]


@check("D5-5")
def _():
    z = np.array([[-4], [-3.5], [-3], [-5], [-4.2], [2], [0.1], [-1]])
    y = np.array([[0.0]] * 6 + [[1.0]] * 2)
    paper, code = (
        value_and_gradient(
            kc.GradientHarmonizedBCE(
                10, normalization=n, from_logits=True, dtype="float64"
            ),
            y,
            z,
            "float64",
        )[0]
        for n in ("all", "nonempty")
    )
    return paper, code, code / paper


@check("D5-6")
def _():
    return [p * value(gamma_ce(0.0), p) for p in (0.5, 0.1)]


def test_every_entry_with_figures_has_a_check_and_no_other():
    assert set(CHECKS) == set(FIGURES)
    assert all(FIGURES.values())


@pytest.mark.parametrize("name", list(FIGURES))
def test_figures(name):
    found = [float(x) for x in CHECKS[name]()]
    assert len(found) == len(FIGURES[name])
    for computed, printed in zip(found, FIGURES[name], strict=True):
        digits = len(printed.partition(".")[2])
        assert abs(computed - float(printed)) <= 0.5001 * 10.0**-digits, printed


def test_every_entry_says_where_what_and_right():
    kinds = re.compile(r"\*\*.+?\s(Wrong|Weak|Right)\.\*\*", re.DOTALL)
    for name, text in ENTRIES.items():
        assert kinds.search(text), name
        assert [f"- {s}:" in text for s in ("Printed", "Right", "Check")] == [True] * 3
