"""The figures of the errata of D1, gamma-cross-entropy."""

from math import exp, log, sqrt

import numpy as np
from scipy import optimize
from scipy.special import expit, log_softmax, softmax

import keras_calib as kc
from keras_calib.callbacks import linear
from tests.docs.errata.tools import (
    GRID,
    V4,
    check,
    gamma_ce,
    minimum,
    of_logits,
    slope,
    value,
    weight,
)
from tests.losses.tools import per_sample


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
    presets = kc.gamma_presets()
    stories, translation = presets["writingprompts"], presets["iwslt14"]
    return stories.gamma, translation.gamma, translation.floor


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
