"""The figures of the errata of D4, the softmax loss."""

from math import exp, log

import numpy as np
from scipy.special import logsumexp

import keras_calib as kc
from tests.docs.errata.tools import CE, check, of_logits


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
