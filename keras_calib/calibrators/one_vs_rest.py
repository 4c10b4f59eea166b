"""The base of the calibrators that map one class's probability at a time."""

from abc import abstractmethod
from typing import Any

import numpy as np
from keras import ops

from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.objectives import log_softmax
from keras_calib.calibrators.samples import Samples
from keras_calib.ops.floats import at_least, tiny
from keras_calib.types import Array, Tensor


class OneVsRest(Calibrator):
    """Base of the maps of one class's probability. A subclass gives `fit_class`, `map`.

    With two classes, class 1 is mapped and class 0 has the rest. With more, every
    class is mapped and the results are divided by their sum, so the argmax may
    change.
    """

    @abstractmethod
    def fit_class(
        self, log_p: Array, log_q: Array, target: Array, weight: Array
    ) -> tuple[Array, ...]:
        """Returns the values of the weights for one class, in order.

        Args:
            log_p: log-probabilities of the class, of shape (N,).
            log_q: log-probabilities of all other classes together.
            target: labels in [0, 1], of shape (N,).
            weight: weights, one sample being 1.
        """

    @abstractmethod
    def map(self, log_p: Tensor, log_q: Tensor, *args: Any, **weights: Any) -> Tensor:
        """Returns the calibrated probability of each class that is mapped."""

    def num_maps(self, num_classes: int) -> int:
        """Returns the number of classes that are mapped."""
        return 1 if num_classes == 2 else num_classes

    def fit_classes(self, samples: Samples) -> list[tuple[Array, ...]]:
        """Fits the classes one by one."""
        z = samples.logits.astype("float64")
        log_p, log_q = log_softmax(z), _log_rest(z)
        targets, weight = samples.targets, samples.weight * samples.total
        last = samples.num_classes
        return [
            self.fit_class(log_p[:, k], log_q[:, k], targets[:, k], weight)
            for k in range(last - self.num_maps(last), last)
        ]

    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Stacks the weights of the classes."""
        values = map(np.stack, zip(*self.fit_classes(samples), strict=True))
        return dict(zip(self.weight_shapes(samples.num_classes), values, strict=True))

    def transform(self, z: Tensor, **weights: Tensor) -> Tensor:
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


def _log_rest(z: Array) -> Array:
    """Returns log sum_{j != k} p_j for each k."""
    top = z.argmax(-1)[:, None]
    e = np.exp(z - np.take_along_axis(z, top, -1))
    total = e.sum(-1, keepdims=True)
    rest = e.copy()
    np.put_along_axis(rest, top, 0.0, -1)
    others = total - e
    np.put_along_axis(others, top, rest.sum(-1, keepdims=True), -1)
    others = np.maximum(others, np.finfo("float64").tiny)
    log_q: Array = np.log(others) - np.log(total)
    return log_q
