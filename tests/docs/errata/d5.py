"""The figures of the errata of D5, cross-entropy and its uses."""

from math import log

import numpy as np

import keras_calib as kc
from tests.docs.errata.tools import check, gamma_ce, value
from tests.losses.tools import per_sample, value_and_gradient


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
