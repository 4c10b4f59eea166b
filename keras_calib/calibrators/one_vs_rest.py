"""The base of the calibrators that map one class's probability at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeAlias

import numpy as np
from keras import ops

from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.objectives import log_softmax
from keras_calib.calibrators.samples import Samples
from keras_calib.ops.floats import at_least, cast, dtype_name, namespace, tiny
from keras_calib.types import Tensor

# One number a sample, of shape (N,).
Column: TypeAlias = np.ndarray


class OneVsRest(Calibrator):
    """Base of the maps of one class's probability. A subclass gives `fit_class`, `map`.

    With two classes, class 1 is mapped and class 0 has the rest. With more, every
    class is mapped and the results are divided by their sum, so the argmax may
    change.
    """

    @abstractmethod
    def fit_class(
        self, log_p: Column, log_q: Column, target: Column, weight: Column
    ) -> tuple[np.ndarray, ...]:
        """Returns the values of the weights for one class, in order.

        Args:
            log_p: log-probabilities of the class.
            log_q: log-probabilities of all other classes together.
            target: labels in [0, 1].
            weight: weights, 1 for one sample.
        """

    @abstractmethod
    def map(self, log_p: Tensor, log_q: Tensor, *args: Any, **weights: Any) -> Tensor:
        """Returns the calibrated probability of each class that is mapped."""

    def num_maps(self, num_classes: int) -> int:
        """Returns the number of classes that are mapped."""
        return 1 if num_classes == 2 else num_classes

    def fit_classes(self, samples: Samples) -> list[tuple[np.ndarray, ...]]:
        """Fits the classes one by one."""
        z = samples.logits.astype("float64")
        log_p, log_q = log_softmax(z), log_rest(z)
        targets, weight = samples.targets, samples.weight * samples.total
        last = samples.num_classes
        return [
            self.fit_class(log_p[:, k], log_q[:, k], targets[:, k], weight)
            for k in range(last - self.num_maps(last), last)
        ]

    def adjust(self, samples: Samples) -> dict[str, np.ndarray]:
        """Stacks the weights of the classes."""
        values = map(np.stack, zip(*self.fit_classes(samples), strict=True))
        return dict(zip(self.weight_shapes(samples.num_classes), values, strict=True))

    def transform(self, z: Tensor, **weights: Tensor) -> Tensor:
        """Maps each class against the rest."""
        log_p = ops.log_softmax(z, axis=-1)
        if z.shape[-1] == 2:
            p = self.map(log_p[..., 1:], log_p[..., :1], **weights)
            return ops.concatenate([1.0 - p, p], axis=-1)
        p = self.map(log_p, log_rest(z), **weights)
        return p / at_least(ops.sum(p, axis=-1, keepdims=True), tiny(z))


def log_rest(z: Tensor) -> Tensor:
    """Returns log sum_{j != k} p_j for each k, of logits z."""
    xp = namespace(z)
    top = xp.max(z, axis=-1, keepdims=True)
    e, is_top = xp.exp(z - top), cast(xp.equal(z, top), dtype_name(z))
    total = xp.sum(e, axis=-1, keepdims=True)
    # total - e would cancel for the largest e, which is 1, and only there.
    below = xp.sum(e - is_top, axis=-1, keepdims=True)
    ties = xp.sum(is_top, axis=-1, keepdims=True) - 1.0
    others = xp.where(is_top > 0, below + ties, total - e)
    return xp.log(at_least(others, tiny(z))) - xp.log(total)
