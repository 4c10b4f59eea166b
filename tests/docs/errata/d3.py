"""The figures of the errata of D3, label smoothing by example."""

import numpy as np

from tests.docs.errata.tools import CE, D3, check, of_logits, smoothing


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
