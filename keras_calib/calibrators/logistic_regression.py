"""Logistic regression, and targets that keep it finite."""

import numpy as np

from keras_calib.activations import sigmoid
from keras_calib.types import Array


def logistic_regression(x: Array, target: Array, weight: Array) -> Array:
    """Returns the coefficients of the largest likelihood, by damped Newton steps.

    The loss ends within 1e-12 times the total weight of its infimum. On separable data
    the infimum is at infinity, but the coefficients are finite.
    """

    # Scale the columns into [-1, 1], because features may have any size.
    scale = np.abs(x).max(0, initial=np.finfo("float64").tiny)
    x = x / scale
    theta = np.zeros(x.shape[1])
    value, limit = log_loss(x @ theta, target, weight), 1e-12 * weight.sum()
    for _ in range(500):
        p = sigmoid(x @ theta)
        gradient = x.T @ (weight * (p - target))
        # The Hessian is R'R. R is used, whose condition number is only the square root
        # of the Hessian's, with its columns scaled to length 1, because their lengths
        # may differ by any factor.
        r = np.linalg.qr(np.sqrt(weight * p * (1.0 - p))[:, None] * x, "r")
        unit = np.linalg.norm(r, axis=0) + np.finfo("float64").tiny
        inverse = np.linalg.pinv(r / unit, rcond=1e-12)
        step = inverse @ (inverse.T @ (gradient / unit)) / unit
        decrement = gradient @ step
        # After a step that changes the log-odds by more than 1, the decrement says less
        # about the remaining loss.
        left = decrement * max(1.0, np.abs(x @ step).max())
        if value <= limit or left <= limit:
            break
        size = 1.0
        while size > 1e-12:
            new = log_loss(x @ (theta - size * step), target, weight)
            if new <= value - 1e-4 * size * decrement:
                break
            size /= 2
        else:  # the gain is below the rounding error of the loss
            break
        theta, value = theta - size * step, new
    found: Array = theta / scale
    return found


def log_loss(eta: Array, target: Array, weight: Array) -> float:
    """Returns the sum of the cross-entropies of log-odds."""
    return float(weight @ (np.logaddexp(0.0, eta) - target * eta))


def platt_targets(target: Array, weight: Array) -> Array:
    """Returns (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) in place of 1 and 0.

    n1 and n0 count the samples of target 1 and 0.
    """
    positive = weight @ target
    negative = weight.sum() - positive
    high, low = (positive + 1) / (positive + 2), 1 / (negative + 2)
    smoothed: Array = low + target * (high - low)
    return smoothed
