"""What calibrates each class against the rest."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from keras import ops

from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.samples import Samples, log_softmax
from keras_calib.ops.floats import at_least, tiny


class OneVsRest(Calibrator):
    """Base of the maps of one class's probability.

    Of two classes only class 1 is mapped, and class 0 has what is left. Of more,
    each is mapped, and the results are divided by their sum. A subclass gives
    `fit_class` and `map`.
    """

    @abstractmethod
    def fit_class(
        self, log_p: np.ndarray, log_q: np.ndarray, target: np.ndarray, weight: Any
    ) -> tuple[np.ndarray, ...]:
        """Returns the values of the weights for one class, in order.

        Args:
            log_p: log-probabilities of the class, of shape (N,).
            log_q: log-probabilities of all the others together.
            target: labels in [0, 1], of shape (N,).
            weight: weights, one sample being 1.
        """

    @abstractmethod
    def map(self, log_p: Any, log_q: Any, *args: Any, **weights: Any) -> Any:
        """Returns the calibrated probability of each class mapped."""

    def num_maps(self, num_classes: int) -> int:
        """Returns how many classes are mapped."""
        return 1 if num_classes == 2 else num_classes

    def fit_classes(self, samples: Samples) -> list[tuple[np.ndarray, ...]]:
        """Fits the classes one by one."""
        z = samples.logits.astype("float64")
        log_p, log_q = log_softmax(z), _log_rest(z)
        targets, weight = samples.targets, samples.weight * samples.total
        last = samples.num_classes
        return [
            self.fit_class(log_p[:, k], log_q[:, k], targets[:, k], weight)
            for k in range(last - self.num_maps(last), last)
        ]

    def adjust(self, samples: Samples) -> dict[str, Any]:
        """Stacks the weights of the classes."""
        values = map(np.stack, zip(*self.fit_classes(samples), strict=True))
        return dict(zip(self.weight_shapes(samples.num_classes), values, strict=True))

    def transform(self, z: Any, *args: Any, **weights: Any) -> Any:
        """Maps each class against the rest."""
        log_p = ops.log_softmax(z, axis=-1)
        if z.shape[-1] == 2:
            p = self.map(log_p[..., 1:], log_p[..., :1], **weights)
            return ops.concatenate([1.0 - p, p], axis=-1)
        e = ops.exp(z - ops.max(z, axis=-1, keepdims=True))
        # sum_{j != k} e_j: total - e_k would cancel for the largest, and only there.
        # (top_k, since OpenVINO does not read what argmax is lowered to.)
        top = ops.squeeze(ops.top_k(e, 1)[1], axis=-1)
        top = ops.one_hot(top, z.shape[-1], dtype=z.dtype)
        total = ops.sum(e, axis=-1, keepdims=True)
        others = ops.where(
            top > 0, ops.sum(e * (1.0 - top), axis=-1, keepdims=True), total - e
        )
        log_q = ops.log(at_least(others, tiny(z))) - ops.log(total)
        p = self.map(log_p, log_q, **weights)
        return p / at_least(ops.sum(p, axis=-1, keepdims=True), tiny(z))


def bounded(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Keeps rates away from 0 and 1: N samples show nothing below 1 / (N + 2)."""
    least = 1.0 / (weight.sum() + 2.0)
    return np.clip(values, least, 1.0 - least)


def count_below(knots: Any, x: Any) -> Any:
    """Counts for each class the knots that are <= x, by bisection without a branch.

    Args:
        knots: ascending knots of shape (C, M).
        x: values of shape (..., C).

    Returns:
        int32 counts in [0, M], of the shape of `x`.
    """
    m = knots.shape[-1]
    count = ops.zeros_like(x, dtype="int32")
    for power in reversed(range(m.bit_length())):
        longer = count + 2**power
        there = look_up(knots, ops.minimum(longer, m) - 1)
        count = ops.where(ops.logical_and(longer <= m, there <= x), longer, count)
    return count


def look_up(table: Any, index: Any) -> Any:
    """Returns table[c, index_c] for each class c of the last axis of `index`."""
    c, m = table.shape
    rows = ops.arange(c, dtype="int32") * m
    return ops.take(ops.reshape(table, (-1,)), index + rows, axis=0)


def logistic_regression(x: np.ndarray, target: Any, weight: Any) -> np.ndarray:
    """Returns the coefficients of the largest likelihood, by damped Newton steps.

    On separable data, where they would run to infinity, it stops once the loss is
    1e-12 of the weight.
    """
    theta = np.zeros(x.shape[1])

    def loss(theta):
        eta = x @ theta
        return weight @ (np.logaddexp(0.0, eta) - target * eta)

    value = loss(theta)
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ theta, -700, 700)))
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
    return theta


def _log_rest(z: np.ndarray) -> np.ndarray:
    """Returns log sum_{j != k} p_j for each k."""
    top = z.argmax(-1)[:, None]
    e = np.exp(z - np.take_along_axis(z, top, -1))
    total = e.sum(-1, keepdims=True)
    rest = e.copy()
    np.put_along_axis(rest, top, 0.0, -1)
    others = total - e
    np.put_along_axis(others, top, rest.sum(-1, keepdims=True), -1)
    return np.log(np.maximum(others, np.finfo("float64").tiny)) - np.log(total)
