"""Losses that require the true class to lead by a margin."""

from typing import Unpack

from keras_calib._keras import get_tensor_attr, in_symbolic_scope
from keras_calib.arguments import in_range, one_of, saveable, unless_none
from keras_calib.losses.base import ClassLoss, ScoreLossArguments, TrueClassLoss
from keras_calib.losses.functions import function_of
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import at_least_float32, at_most
from keras_calib.ops.margin import (
    LARGEST_MARGIN,
    HingeForm,
    margin_value,
    margin_weight,
    multiclass_hinge as hinge,
)
from keras_calib.types import Tensor

__all__ = [
    "AdditiveMarginSoftmax",
    "MulticlassHinge",
    "additive_margin_softmax",
    "multiclass_hinge",
]


@saveable
class AdditiveMarginSoftmax(TrueClassLoss):
    """Cross-entropy of scaled cosines with a margin subtracted from the true class's.

    Formula, for cosines c, the true class y, scale s and margin m:

    ```
    loss = -log softmax(s * (c - m * onehot(y)))_y
         = softplus(log sum_{j != y} exp(s * c_j) - s * (c_y - m))
    ```

    Known as AM-softmax and CosFace. The margin is for training only: predict with
    softmax(s * c). The margin makes the model underconfident.

    The layer `keras_calib.layers.CosineLogits` returns the cosines or, with a scale of
    its own that may be learned, the logits s * c. For those logits leave the `scale` of
    the loss at `None`: the loss reads the scale that the layer attaches to its output.
    That must be the output of the model, in the dtype of the loss.

    Args:
        margin: m, at least 0; m * s is at most 80.
        scale: s, above 0, for cosines; `None` for the logits of `CosineLogits`.

    Call arguments:
        y_pred: cosines of shape `(..., K)`, or logits of `CosineLogits`.

    Raises:
        ValueError: for a scale that is given twice or not at all.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.AdditiveMarginSoftmax(margin=0.35, scale=30.0)
    >>> round(float(loss([0], [[0.6, 0.3, -0.1]])), 6)
    1.701418

    Reference:

    - Wang et al., "Additive Margin Softmax for Face Verification", IEEE Signal
      Processing Letters 2018, [arXiv:1801.05599](https://arxiv.org/abs/1801.05599),
      section 3.
    """

    def __init__(
        self,
        margin: float = 0.35,
        scale: float | None = 30.0,
        **kwargs: Unpack[ScoreLossArguments],
    ) -> None:
        super().__init__(from_logits=True, **kwargs)
        self.margin = in_range("margin", margin, 0.0, float("inf"))
        self.scale = unless_none(in_range, "scale", scale, 1e-6, float("inf"))
        self.score_factor = self.scale or 1.0
        in_range("margin * scale", self._of_logits, 0.0, LARGEST_MARGIN)

    @property
    def _of_logits(self) -> float:
        return self.margin * self.score_factor

    def value(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns the loss."""
        return margin_value(log_p, p, q, self._of_logits)

    def weight(self, log_p: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Returns -dl/dlog_p."""
        return margin_weight(log_p, p, q, self._of_logits)

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample."""
        learned = get_tensor_attr(batch.given, "_keras_calib_scale")
        if learned is None and in_symbolic_scope():
            # Outside TensorFlow, `fit` first infers shapes from predictions without a
            # scale.
            return super().sample_losses(batch)
        if (learned is None) == (self.scale is None):
            raise ValueError(
                "The scale is either that of the loss, for cosines, or that of a "
                "CosineLogits layer at the end of the model, in the dtype of the "
                f"loss ({self.dtype}). Received: scale={self.scale} and predictions "
                f"that carry {'none' if learned is None else 'one'}"
            )
        if learned is None:
            return super().sample_losses(batch)
        a = at_most(at_least_float32(self.margin * learned), LARGEST_MARGIN)
        return batch.loss(margin_value, margin_weight, parameters=[a])


additive_margin_softmax = function_of(AdditiveMarginSoftmax)


@saveable
class MulticlassHinge(ClassLoss):
    """Hinge loss over K classes, from the sum of hinges to cross-entropy.

    Formula, for scores z, the true class y and margin m:

    ```
    sum        sum_{j != y} max(0, z_j - z_y + m)
    max        max(0, max_{j != y} z_j - z_y + m)
    logsumexp  max(0, log sum_{j != y} exp z_j - z_y + m)
    softplus   log(1 + exp(log sum_{j != y} exp z_j - z_y + m))
    ```

    `"sum"` is the hinge of Weston and Watkins, whose gradient grows with the number of
    classes. `"max"` is that of Crammer and Singer, which moves two scores at a time.
    `"logsumexp"` spreads the same gradient over all other classes, and its smoothing
    adds a margin of up to log(K - 1). `"softplus"` with m = 0 is cross-entropy, the
    only form whose scores are log-probabilities. For binary hinges use Keras's `Hinge`
    and `SquaredHinge`. Soft targets take K times the memory.

    Args:
        form: `"sum"`, `"max"`, `"logsumexp"` or `"softplus"`.
        margin: m, at least 0.

    Call arguments:
        y_pred: scores of shape `(..., K)`.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.MulticlassHinge("sum")
    >>> float(loss([0], [[1.0, 2.0, 0.5]]))
    2.5

    References:

    - Weston, Watkins, "Multi-class Support Vector Machines", 1998.
    - Crammer, Singer, "On the Algorithmic Implementation of Multiclass
      Kernel-based Vector Machines", JMLR 2001.
    """

    def __init__(
        self,
        form: HingeForm = "max",
        margin: float = 1.0,
        **kwargs: Unpack[ScoreLossArguments],
    ) -> None:
        super().__init__(from_logits=True, **kwargs)
        self.form = one_of("form", form, HingeForm)
        self.margin = in_range("margin", margin, 0.0, float("inf"))

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample."""
        return batch.expected_loss(
            lambda labels, z: hinge(labels, z, self.form, self.margin)
        )


multiclass_hinge = function_of(MulticlassHinge)
