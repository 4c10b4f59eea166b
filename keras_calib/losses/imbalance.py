"""Losses for classes, or samples, of which there are too many of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_calib._keras import numpy_value
from keras_calib.arguments import in_range, one_of
from keras_calib.losses.base import BinaryLoss, ClassLoss, TrueClassLoss
from keras_calib.losses.focal import class_factors
from keras_calib.ops.binary_batch import BinaryBatch
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.cross_entropy import cross_entropy_value, cross_entropy_weight
from keras_calib.ops.floats import at_least, at_most, segment_sum
from keras_calib.ops.imbalance import hardest_negatives, harmonizing_weights
from keras_calib.ops.true_class import with_gradient
from keras_calib.types import Tensor


@keras.saving.register_keras_serializable(package="keras_calib")
class AlphaBalancedCE(TrueClassLoss):
    """Cross-entropy with a factor for each class.

    Formula, for the probability p of the true class y:

    ```
    loss = -alpha[y] * log p
    ```

    It is calibrated to a world where class y is alpha[y] times as frequent: divide
    the probabilities by alpha, and by their sum, to have those of the data.

    Args:
        alpha: one factor for each class, at least 0, or one for all.
        from_logits: whether `y_pred` are logits.
        ignore_class: integer label whose samples count for nothing.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or targets t of shape
            `(..., K)`, which give sum_i t_i loss(i).
        y_pred: logits or probabilities of shape `(..., K)`.

    Raises:
        ValueError: for arguments out of range and shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.AlphaBalancedCE([0.25, 0.75])
    >>> round(float(loss([1], [[0.5, 0.5]])), 6)
    0.51986

    Reference:

    - Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 3.1.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 1.0,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "alpha_balanced_ce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.alpha = class_factors("alpha", alpha)

    @property
    def class_weights(self) -> float | list[float] | None:
        """One factor for each class."""
        return self.alpha

    value = staticmethod(cross_entropy_value)
    weight = staticmethod(cross_entropy_weight)


@keras.saving.register_keras_serializable(package="keras_calib")
class AlphaBalancedBCE(BinaryLoss):
    """Cross-entropy of independent labels, positives against negatives.

    Formula, for each label y and p = P(y = 1):

    ```
    loss = reduce(-alpha * y * log p - (1 - alpha) * (1 - y) * log(1 - p), axis=-1)
    ```

    alpha is the factor of the positives: 0.25 weighs them less than the negatives.

    Args:
        alpha: in [0, 1].
        label_reduction: `"mean"` over the last axis, the Keras habit, or `"sum"`.
        from_logits: whether `y_pred` are logits.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: labels in [0, 1] of shape `(..., L)`.
        y_pred: logits or probabilities of the same shape.

    Raises:
        ValueError: for arguments out of range and shapes that differ.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.AlphaBalancedBCE(0.25)
    >>> round(float(loss([[1]], [[0.5]])), 6)
    0.173287

    Reference:

    - Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 3.1.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        *,
        label_reduction: str = "mean",
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "alpha_balanced_bce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            label_reduction=label_reduction,
            from_logits=from_logits,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.alpha = in_range("alpha", alpha, 0.0, 1.0)
        self.positive_weight, self.negative_weight = self.alpha, 1.0 - self.alpha

    value = staticmethod(cross_entropy_value)
    weight = staticmethod(cross_entropy_weight)


@keras.saving.register_keras_serializable(package="keras_calib")
class GradientHarmonizedBCE(BinaryLoss):
    """GHM-C: each region of the gradient's norm weighs the same.

    Formula, for label y, p = P(y = 1) and g = |p - y|, the norm of the gradient,
    with R(g) the number of labels in the batch whose g lies in the same of M bins
    [i/M, (i+1)/M):

    ```
    loss = reduce(N / (R(g) * bins) * BCE(y, p), axis=-1)
    ```

    N is the number of labels in the batch, and `bins` the number of bins that are
    not empty, as in the authors' code, or M, as in the paper. Both the many easy
    samples and the outliers weigh less. The weights have no gradient.

    With `momentum` m the count of a bin that is not empty is the average
    A <- m A + (1 - m) R, from A = 0: as in the authors' code there is no
    correction, so that the first batch weighs 1 / (1 - m) times too much. A moves
    where a gradient is taken, not in evaluation. It is in the config, so that a
    saved model goes on with it.

    It is a loss of a batch: what a sample weighs depends on the others. Under a
    distribution strategy the batch is the replica's. With a momentum make the loss
    in the strategy's scope: each replica has its average then, and a saved model
    their mean; made outside, the replicas move one average in turn. Sample weights
    and masks multiply the values and do not enter the counts; `ignore_class` does.

    Args:
        bins: M, at least 1.
        momentum: m in [0, 1). On JAX, where a loss cannot keep state, only 0.
        normalization: `"nonempty"` or `"all"`.
        from_logits: whether `y_pred` are logits.
        ignore_class: label that counts for nothing, such as -1.
        counts: the averages to start from, one a bin.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: labels in [0, 1] of shape `(..., L)`.
        y_pred: logits or probabilities of the same shape.

    Raises:
        ValueError: for arguments out of range and shapes that differ, and for a
            momentum on JAX.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.GradientHarmonizedBCE(bins=10)
    >>> p = [[0.02], [0.03], [0.01], [0.88]]
    >>> round(float(loss([[0], [0], [0], [0]], p)), 6)
    1.070251

    Reference:

    - Li, Liu, Wang, "Gradient Harmonized Single-stage Detector", AAAI 2019,
      [arXiv:1811.05181](https://arxiv.org/abs/1811.05181), section 3.
    """

    def __init__(
        self,
        bins: int = 30,
        momentum: float = 0.0,
        normalization: str = "nonempty",
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        counts: Sequence[float] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "gradient_harmonized_bce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits, reduction=reduction, name=name, dtype=dtype
        )
        if not isinstance(bins, int) or bins < 1:
            raise ValueError(f"`bins` must be a whole number >= 1. Received: {bins!r}")
        self.bins = bins
        self.momentum = in_range("momentum", momentum, 0.0, 1.0 - 1e-6)
        self.normalization = one_of("normalization", normalization, ("nonempty", "all"))
        self.ignore_class = ignore_class
        if momentum and keras.backend.backend() == "jax":
            raise ValueError(
                "On JAX a loss keeps no state from one compiled step to the next: use "
                f"momentum=0. Received: momentum={momentum}"
            )
        counts = [0.0] * bins if counts is None else [float(c) for c in counts]
        if len(counts) != bins:
            raise ValueError(
                f"`counts` must have one number for each of the {bins} bins. "
                f"Received: {len(counts)}"
            )
        self._counts = keras.Variable(
            counts,
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="mean",
            synchronization="on_read",
            name="counts",
        )

    @property
    def counts(self) -> list[float]:
        """The average count of each bin."""
        value = numpy_value(self._counts)
        if value is None:
            raise ValueError("counts have no value inside a compiled step")
        return value.tolist()

    value = staticmethod(cross_entropy_value)
    weight = staticmethod(cross_entropy_weight)

    def label_losses(self, batch: BinaryBatch) -> Tensor:
        """Returns the loss of each label."""
        losses = super().label_losses(batch)
        valid = ops.ones_like(losses)
        if batch.valid is not None:
            valid = ops.cast(batch.valid, losses.dtype)
        p, y_true = batch.probabilities, batch.targets
        norm = ops.stop_gradient(ops.abs(p - y_true))
        index = ops.cast(at_most(norm * self.bins, self.bins - 1.0), "int32")
        seen = segment_sum(
            ops.reshape(valid, (-1,)), ops.reshape(index, (-1,)), self.bins
        )
        counts = seen
        if self.momentum:
            average = ops.cast(self._counts, seen.dtype)
            moved = self.momentum * average + (1.0 - self.momentum) * seen
            counts = ops.where(seen > 0.0, moved, average)
            losses = _on_gradient(losses, lambda: self._counts.assign(counts))
        all_bins = self.normalization == "all"
        return losses * valid * harmonizing_weights(seen, counts, index, all_bins)


def _on_gradient(x, do):
    """Returns x, and calls `do` where a gradient in x is taken: in training."""

    def forward(x):
        def backward(upstream):
            do()
            return upstream

        return 1.0 * x, backward

    return with_gradient(forward, x)


@keras.saving.register_keras_serializable(package="keras_calib")
class HardNegativeCE(ClassLoss):
    """Cross-entropy of the positives and of the hardest negatives (SSD, 3:1).

    Formula, over the anchors i of an image, c_i being the cross-entropy, and N the
    number of positives in the batch:

    ```
    loss = (sum over positives of c_i + sum over kept negatives of c_i) / N
    ```

    A negative is an anchor whose label is `background`. Of them the
    min(ratio * positives, negatives) of largest c_i are kept, image by image; an
    image with no positive gives 0. The choice has no gradient.

    Each anchor's value is multiplied by (anchors in the batch) / N, so that the mean
    that Keras takes is the loss above. Under a distribution strategy the batch is
    the replica's. It shows the model a world with at most `ratio` negatives for a
    positive: its confidence is that of no other.

    Args:
        ratio: negatives kept for each positive, at least 0.
        background: the label of negatives.
        from_logits: whether `y_pred` are logits.
        ignore_class: integer label of anchors that are neither.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: dtype of the loss's computations.

    Call arguments:
        y_true: integer labels of shape `(..., A)` or `(..., A, 1)`, A anchors an
            image; a batch of shape `(A,)` is one image.
        y_pred: logits or probabilities of shape `(..., A, K)`.

    Raises:
        ValueError: for arguments out of range, and for shapes that do not fit, those
            of one-hot labels among them.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.HardNegativeCE(ratio=1.0, reduction=None)
    >>> p = [[[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]]]
    >>> [round(float(v), 6) for v in loss([[1, 0, 0]], p)[0]]
    [0.669431, 0.0, 2.079442]

    Reference:

    - Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016,
      [arXiv:1512.02325](https://arxiv.org/abs/1512.02325), section 2.2.
    """

    def __init__(
        self,
        ratio: float = 3.0,
        background: int = 0,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "hard_negative_ce",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.ratio = in_range("ratio", ratio, 0.0, float("inf"))
        self.background = background

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each anchor."""
        if batch.soft:
            raise ValueError(
                "Hard negative mining needs integer labels. Received: targets of "
                f"{batch.num_classes} classes"
            )
        losses = batch.in_shape(batch.cross_entropy)
        positive = batch.unflatten(ops.not_equal(batch.labels, self.background))
        if batch.valid is not None:
            # An ignored anchor has a loss of 0: it is the easiest negative.
            positive = ops.logical_and(positive, batch.valid)
        kept = hardest_negatives(ops.stop_gradient(losses), positive, self.ratio)
        count = ops.sum(ops.cast(positive, losses.dtype))
        anchors = ops.sum(ops.ones_like(losses))
        scale = anchors / at_least(count, 1.0)
        return ops.reshape(ops.where(kept, losses * scale, 0.0), (-1,))
