"""Softmax regression with penalties, by Newton's method."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_calib.activations import log_softmax
from keras_calib.types import Array

# The most steps, and the most products with the Hessian that one of them may take.
_STEPS = 200
_PRODUCTS = 1000
# The curvature of each class takes K^2 numbers. With more classes than this, only its
# diagonal is used.
_MANY_CLASSES = 200
# The decrement at which a fit without a minimum ends.
_TINY = 1e-18


@dataclass(frozen=True)
class SoftmaxRegression:
    """The mean cross-entropy of softmax(W x + b) plus penalties: convex in (W, b).

    Args:
        x: float64 features of shape (N, K).
        targets: one-hot or soft labels of shape (N, K).
        weight: weights of shape (N,), whose sum is 1.
        penalty: factors of the squares of the parameters, which have its shape:
            (K, K + 1) for a matrix W and, as its last column, b; (K, 2) for the
            diagonal of W, and b.
        full_matrix: whether W is a matrix, or a diagonal.
        center: the parameters at which the penalty is 0.
        by_class: whether steps are scaled by the curvature of each class, a matrix,
            or by its diagonal, which is faster where all parameters have penalties.
    """

    x: Array
    targets: Array
    weight: Array
    penalty: Array
    full_matrix: bool
    center: Array | float = 0.0
    by_class: bool = True

    def minimize(self, theta: Array, tolerance: float = 1e-10) -> tuple[Array, bool]:
        """Returns the optimum, and whether it is known to be one.

        Newton's step d changes the scores by a_nk. Where no |a| is above 1,
        q = p (1 + a - sum(p a)) is a point of the dual problem, which proves that the
        optimum is at most d'Hd below. If an |a| is above 1, as where the optimum is at
        infinity, d'Hd is an estimate. It says nothing about samples whose features are
        so small that their probabilities do not change yet, so it must be below
        `_TINY`.

        Args:
            theta: where to start.
            tolerance: how far above the optimum the value may end, as a fraction of
                values above 1.
        """
        value, p = self._value(theta)
        most = max(1000, 20_000_000 // theta.size)
        for _ in range(_STEPS):
            slope = self._slope(p) + 2 * self.penalty * (theta - self.center)
            step, used, solved = self._newton_step(slope, p)
            decrement = -np.sum(slope * step)
            change = np.abs(self._centered(self._scores(step), p)).max()
            limit = tolerance * max(1.0, value)
            # Cross-entropy is at least 0, which separable classes approach at infinity.
            enough = limit if change <= 1 else _TINY
            if value <= limit or (solved and decrement <= enough):
                return theta, True
            if (most := most - used) < 0:
                break
            size, rounding = 1.0, 1e-15 * max(1.0, value)
            while (new := self._value(theta + size * step))[0] > (
                value - 1e-4 * size * decrement + rounding
            ):
                size /= 2
            theta, (value, p) = theta + size * step, new
        return theta, False

    def _newton_step(self, slope: Array, p: Array) -> tuple[Array, int, bool]:
        """Solves H d = -slope by conjugate gradients.

        Returns d, the number of products with H, and whether they converged.
        """
        divide = self._division(p)
        step, rest = np.zeros_like(slope), -slope
        along = divided = divide(rest)
        size = np.sum(rest * divided)
        # Far from the optimum a rough solution is enough; near it, each step doubles
        # the number of correct digits.
        enough = max(size * min(0.01, size), 1e-20)
        used = 0
        while size > enough and used < min(_PRODUCTS, 50 + 3 * slope.size):
            curved = self._curvature(along, p)
            share = size / np.sum(along * curved)
            step, rest = step + share * along, rest - share * curved
            divided, before = divide(rest), size
            size = np.sum(rest * divided)
            along = divided + size / before * along
            used += 1
        return step, used, size <= enough

    def loss(self, theta: Array) -> tuple[float, Array]:
        """Returns the cross-entropy without penalties, and the probabilities."""
        log_p = log_softmax(self._scores(theta))
        loss = -self.weight @ np.einsum("nk,nk->n", self.targets, log_p)
        return float(loss), np.exp(log_p)

    def _value(self, theta: Array) -> tuple[float, Array]:
        loss, p = self.loss(theta)
        return loss + float(np.sum(self.penalty * (theta - self.center) ** 2)), p

    def _scores(self, theta: Array) -> Array:
        w, b = theta[:, :-1], theta[:, -1]
        scores: Array = (self.x @ w.T if self.full_matrix else self.x * w.T) + b
        return scores

    def _mass(self) -> Array:
        """Returns the weights of p: rounded soft targets need not sum to 1."""
        mass: Array = (self.weight * self.targets.sum(-1))[:, None]
        return mass

    def _slope(self, p: Array) -> Array:
        error = self._mass() * p - self.weight[:, None] * self.targets
        return self._pulled_back(error)

    def _curvature(self, step: Array, p: Array) -> Array:
        """Returns the Hessian times a step."""
        change = p * self._centered(self._scores(step), p)
        change *= self._mass()
        curved: Array = self._pulled_back(change) + 2 * self.penalty * step
        return curved

    def _centered(self, change: Array, p: Array) -> Array:
        centered: Array = change - np.einsum("nk,nk->n", p, change)[:, None]
        return centered

    def _pulled_back(self, slope: Array) -> Array:
        """Returns the slope in the parameters for a slope in the scores."""
        if self.full_matrix:
            w = slope.T @ self.x
        else:
            w = np.einsum("nk,nk->k", slope, self.x)[:, None]
        pulled: Array = np.hstack([w, slope.sum(0)[:, None]])
        return pulled

    def _division(self, p: Array) -> Callable[[Array], Array]:
        """Returns a function that divides by the curvature of each class alone."""
        v = p * (1 - p) * self._mass()
        k, size = self.penalty.shape
        if size > _MANY_CLASSES or not self.by_class:
            square = self.x**2
            w = v.T @ square if self.full_matrix else (v * square).sum(0)[:, None]
            diagonal = np.hstack([w, v.sum(0)[:, None]])
            diagonal = np.maximum(diagonal + 2 * self.penalty, np.finfo("float64").tiny)
            return lambda slope: slope / diagonal
        blocks = np.empty((k, size, size))
        for i, own in enumerate(v.T):
            x = self.x if self.full_matrix else self.x[:, i : i + 1]
            x = np.hstack([x, np.ones((len(x), 1))])
            blocks[i] = (own[:, None] * x).T @ x + 2 * np.diag(self.penalty[i])
        # Scaled by the parameters' own curvatures, which may differ by any factor, and
        # are 0 for parameters that the samples do not determine.
        unit = np.sqrt(np.einsum("kii->ki", blocks)) + np.finfo("float64").tiny
        blocks = blocks / unit[:, :, None] / unit[:, None, :] + 1e-12 * np.eye(size)
        inverse = np.linalg.inv(blocks)
        inverse = inverse + np.swapaxes(inverse, 1, 2)
        return lambda slope: np.einsum("kij,kj->ki", inverse, slope / unit) / unit
