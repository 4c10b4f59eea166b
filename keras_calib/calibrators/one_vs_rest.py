"""The base of the calibrators that map one class's probability at a time."""

from abc import abstractmethod
from typing import Any

import numpy as np
from keras import ops

from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.samples import Samples
from keras_calib.ops.floats import in_float64
from keras_calib.types import Array, Tensor


class OneVsRest(Calibrator):
    """Base of the maps of one class's probability. A subclass gives `fit_class`, `map`.

    With two classes, class 1 is mapped and class 0 gets the rest. With more, every
    class is mapped and the results are divided by their sum, so the argmax may
    change. Probabilities p are given as log-odds log p - log(1 - p), which keep their
    digits where p rounds to 0 or 1.
    """

    @abstractmethod
    def fit_class(self, d: Array, target: Array, weight: Array) -> tuple[Array, ...]:
        """Returns the values of the weights for one class, in order.

        Args:
            d: log-odds of the class, of shape (N,).
            target: labels in [0, 1], of shape (N,).
            weight: weights; a weight of 1 stands for one sample.
        """

    @abstractmethod
    def map(self, d: Tensor, *args: Any, **weights: Any) -> Tensor:
        """Returns the calibrated log-odds of each class that is mapped."""

    def num_maps(self, num_classes: int) -> int:
        """Returns the number of classes that are mapped."""
        return 1 if num_classes == 2 else num_classes

    def fit_classes(self, samples: Samples) -> list[tuple[Array, ...]]:
        """Fits the classes one by one."""
        targets, weight = samples.targets, samples.weight * samples.total
        columns = list(zip(_array_log_odds(samples.logits).T, targets.T, strict=True))
        maps = self.num_maps(samples.num_classes)
        return [self.fit_class(d, target, weight) for d, target in columns[-maps:]]

    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Stacks the weights of the classes."""
        values = map(np.stack, zip(*self.fit_classes(samples), strict=True))
        return dict(zip(self.weight_shapes(samples.num_classes), values, strict=True))

    def transform(self, z: Tensor, **weights: Tensor) -> Tensor:
        """Maps each class against the rest."""
        d = log_odds(z)
        if z.shape[-1] == 2:
            d = self.map(d[..., 1:], **weights)
            return ops.sigmoid(ops.concatenate([-d, d], axis=-1))
        return ops.softmax(ops.log_sigmoid(self.map(d, **weights)), axis=-1)


def log_odds(z: Tensor) -> Tensor:
    """Returns log p_k - log(1 - p_k) = z_k - log sum_{j != k} exp(z_j) of each class k.

    The fit and the layer share it, so that they see the same numbers.
    """
    # top_k, because OpenVINO cannot read the op that argmax becomes, and because max
    # refuses an empty batch.
    largest, index = ops.top_k(z, 1)
    top = ops.equal(ops.arange(z.shape[-1], dtype="int32"), index)
    z = z - largest
    # For the largest class total - e_k would cancel, and underflow: its sum is shifted
    # by the largest of the others.
    others = ops.where(top, ops.full_like(z, np.finfo("float32").min), z)
    second = ops.top_k(others, 1)[0]
    rest = second + ops.log(ops.sum(ops.exp(others - second), axis=-1, keepdims=True))
    e = ops.exp(z)
    total = ops.sum(e, axis=-1, keepdims=True)
    return z - ops.where(top, rest, ops.log(ops.where(top, total, total - e)))


@in_float64
def _array_log_odds(z: Array) -> Array:
    d = log_odds(ops.convert_to_tensor(z, "float64"))
    return np.asarray(ops.convert_to_numpy(d))
