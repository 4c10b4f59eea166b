"""Helpers for the checks of docs/errata.md."""

import numpy as np
from keras import ops
from scipy import optimize

import keras_calib as kc
from tests.losses.tools import value_and_gradient

CHECKS = {}


def check(name):
    """Registers a function that returns the figures of an entry in their order."""

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


def smoothing(convention):
    loss = kc.LabelSmoothingCE(0.1, convention, from_logits=True, dtype="float64")
    return of_logits(loss, 2, D3)


NEARLY_1 = 1 - 1e-6
V4 = [1.0, 2.0, 0.5, -1.0]
D3 = np.array([-1.5, 0.5, 5.0, -0.5])
GRID = np.append(1e-12, np.linspace(1e-6, 1 - 1e-6, 2000001))
CE = gamma_ce(0.0, from_logits=True)
