"""GHM-C, which evens out the norms of the gradients of a batch."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, Unpack

import keras
from keras import ops

from keras_calib._keras import known_value
from keras_calib.arguments import (
    in_range,
    label,
    numbers,
    one_of,
    saveable,
    unless_none,
    whole_number,
)
from keras_calib.losses.base import BinaryLoss, BinaryLossArguments, CrossEntropy
from keras_calib.losses.functions import function_of
from keras_calib.ops.binary_batch import BinaryBatch
from keras_calib.ops.floats import at_most, last_mean, segment_sum
from keras_calib.ops.gradient_harmonized import harmonizing_weights
from keras_calib.ops.gradients import with_gradient
from keras_calib.types import Tensor

__all__ = ["GradientHarmonizedBCE", "gradient_harmonized_bce"]

Normalization: TypeAlias = Literal["nonempty", "all"]


@saveable
class GradientHarmonizedBCE(CrossEntropy, BinaryLoss):
    """GHM-C: all regions of the gradient norm have the same total weight.

    Formula, for label y, p = P(y = 1) and g = |p - y|, the norm of the gradient,
    with R(g) the number of labels in the batch whose g lies in the same of M bins
    [i/M, (i+1)/M):

    ```
    loss = reduce(N / (R(g) * bins) * BCE(y, p), axis=-1)
    ```

    N is the number of labels in the batch, and `bins` the number of bins that are
    not empty, as in the authors' code, or M, as in the paper. Both the many easy
    samples and the outliers get a smaller weight. The weights have no gradient.

    The loss belongs to a batch: the weight of a sample depends on the others. Under a
    distribution strategy the batch is the replica's. Labels that are masked, or are
    `ignore_class`, are not counted. Sample weights multiply the values and do not enter
    the counts.

    Args:
        num_bins: M, at least 1.
        momentum: m in [0, 1). Above 0 the count of a nonempty bin is the average
            A <- m A + (1 - m) R, from A = 0. As in the authors' code, nothing corrects
            for the start: the weights of the first batch are 1 / (1 - m) times too
            large. A changes in training, not in evaluation, and is saved with the
            model. Create the loss in the scope of a distribution strategy: each replica
            then has its own average, and a saved model has their mean. Otherwise the
            replicas update one average in turn. On JAX, where a loss cannot keep state,
            m must be 0.
        normalization: `"nonempty"` or `"all"`.
        ignore_class: label that is ignored, such as -1.
        counts: the averages to start from, one for each bin.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.GradientHarmonizedBCE(num_bins=10)
    >>> p = [[0.02], [0.03], [0.01], [0.88]]
    >>> round(float(loss([[0], [0], [0], [0]], p)), 6)
    1.070251

    Reference:

    - Li, Liu, Wang, "Gradient Harmonized Single-stage Detector", AAAI 2019,
      [arXiv:1811.05181](https://arxiv.org/abs/1811.05181), section 3.
    """

    def __init__(
        self,
        num_bins: int = 30,
        momentum: float = 0.0,
        normalization: Normalization = "nonempty",
        *,
        ignore_class: int | None = None,
        counts: Sequence[float] | None = None,
        **kwargs: Unpack[BinaryLossArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_bins = whole_number("num_bins", num_bins)
        self.momentum = in_range("momentum", momentum, 0.0, 1.0 - 1e-6)
        self.normalization = one_of("normalization", normalization, Normalization)
        self.ignore_class = label("ignore_class", ignore_class)
        if momentum and keras.backend.backend() == "jax":
            raise ValueError(
                "On JAX a loss keeps no state from one compiled step to the next: use "
                f"momentum=0. Received: momentum={momentum}"
            )
        if counts is not None and not momentum:
            raise ValueError(
                "`counts` are the averages of a momentum above 0. Received: momentum=0"
            )
        counts = unless_none(numbers, "counts", counts, 0.0, float("inf"), num_bins)
        self._average = None
        if momentum:
            self._average = keras.Variable(
                counts or [0.0] * num_bins,
                dtype="float32",
                trainable=False,
                autocast=False,
                aggregation="mean",
                synchronization="on_read",
                name="counts",
            )

    @property
    def counts(self) -> list[float] | None:
        """The average count of each bin, `None` without a momentum."""
        if self._average is None:
            return None
        return [float(count) for count in known_value("counts", self._average)]

    def label_losses(self, batch: BinaryBatch) -> Tensor:
        """Returns the loss of each label."""
        losses = super().label_losses(batch)
        valid = averaged = ops.ones_like(losses)
        if batch.mask is not None:
            valid = averaged = valid * ops.expand_dims(batch.mask, -1)
        if batch.valid is not None:
            valid = valid * ops.cast(batch.valid, losses.dtype)
        # Keras divides a mean by the number of samples that are not masked.
        counted = valid if self.reduction == "sum" else averaged
        share = last_mean(ops.reshape(counted, (-1,)))
        norm = ops.stop_gradient(ops.abs(batch.probabilities - batch.targets))
        # NaN goes into the first bin; its loss is NaN anyway.
        norm = ops.where(norm >= 0.0, norm, 0.0)
        index = ops.cast(at_most(norm * self.num_bins, self.num_bins - 1.0), "int32")
        seen = segment_sum(
            ops.reshape(valid, (-1,)), ops.reshape(index, (-1,)), self.num_bins
        )
        counts = seen
        if self._average is not None:
            variable = self._average
            average = ops.cast(variable, seen.dtype)
            moved = self.momentum * average + (1.0 - self.momentum) * seen
            counts = ops.where(seen > 0.0, moved, average)
            losses = _on_gradient(losses, lambda: variable.assign(counts))
        all_bins = self.normalization == "all"
        weights = share * harmonizing_weights(seen, counts, index, all_bins)
        return ops.where(valid > 0.0, losses * weights, 0.0)


gradient_harmonized_bce = function_of(
    GradientHarmonizedBCE, without=("momentum", "counts")
)


def _on_gradient(x: Tensor, do: Callable[[], object]) -> Tensor:
    """Returns x, and calls `do` when its gradient is computed, so in training only.

    Keras does not tell a loss whether it is training.
    """

    def backward(upstream: Tensor) -> tuple[Tensor]:
        do()
        return (upstream,)

    return with_gradient(lambda x: (1.0 * x, backward), x)
