"""Logistic regression, and targets that keep it finite."""

import numpy as np

from keras_calib.activations import sigmoid
from keras_calib.types import Array


def logistic_regression(x: Array, target: Array, weight: Array) -> Array:
    """Returns the coefficients of the largest likelihood, by damped Newton steps.

    On separable data they would grow without end, so the iteration stops when the loss
    is 1e-12 of the weight.
    """

    def loss(theta: Array) -> float:
        eta = x @ theta
        return float(weight @ (np.logaddexp(0.0, eta) - target * eta))

    # Scale the columns into [-1, 1], because features may have any size.
    scale = np.abs(x).max(0, initial=np.finfo("float64").tiny)
    x = x / scale
    theta = np.zeros(x.shape[1])
    value = loss(theta)
    for _ in range(100):
        p = sigmoid(x @ theta)
        gradient = x.T @ (weight * (p - target))
        hessian = (x.T * (weight * p * (1.0 - p))) @ x
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-14)[0]
        if gradient @ step <= 1e-14 * weight.sum():
            break
        while (new := loss(theta - step)) > value and np.abs(step).max() > 1e-15:
            step = step / 2
        theta, value = theta - step, new
        if value <= 1e-12 * weight.sum():
            break
    found: Array = theta / scale
    return found


def platt_targets(target: Array, weight: Array) -> Array:
    """Returns (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) in place of 1 and 0.

    n1 and n0 count the samples of target 1 and 0.
    """
    positive = weight @ target
    negative = weight.sum() - positive
    high, low = (positive + 1) / (positive + 2), 1 / (negative + 2)
    smoothed: Array = low + target * (high - low)
    return smoothed
