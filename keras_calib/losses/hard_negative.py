"""Hard negative mining."""

from typing import Unpack

from keras import ops

from keras_calib.arguments import in_range, saveable, whole_number
from keras_calib.losses.base import ClassLoss, ClassLossArguments
from keras_calib.losses.functions import function_of
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import at_least
from keras_calib.ops.hard_negative import hardest_negatives
from keras_calib.types import Tensor

__all__ = ["HardNegativeCE", "hard_negative_ce"]


@saveable
class HardNegativeCE(ClassLoss):
    """Cross-entropy of the positives and of the hardest negatives (SSD, 3:1).

    Formula, with c_i the cross-entropy of anchor i, over the N positives P of the
    batch and the negatives H that are kept:

    ```
    loss = (sum_{i in P} c_i + sum_{i in H} c_i) / N
    ```

    A negative is an anchor whose label is `background`. The
    min(ratio * positives, negatives) negatives of largest c_i are kept, image by image;
    an image with no positive gives 0. The choice has no gradient.

    Each anchor's value is multiplied by (anchors in the batch) / N, so that the mean
    that Keras takes is the loss above. Anchors that are masked, or whose label is
    `ignore_class`, are ignored. Under a distribution strategy the batch is the
    replica's. Training sees at most `ratio` negatives for each positive, so the
    confidences are not calibrated on the data: calibrate the model afterwards.

    Args:
        ratio: negatives kept for each positive, at least 0.
        background: the label of negatives, a whole number.
        ignore_class: integer label of anchors that are neither.

    Call arguments:
        y_true: integer labels of shape `(..., A)` or `(..., A, 1)`, A anchors for each
            image; a batch of shape `(A,)` is one image.
        y_pred: logits or probabilities of shape `(..., A, K)`.

    Raises:
        ValueError: for one-hot labels.

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

    of_one_sample = False

    def __init__(
        self,
        ratio: float = 3.0,
        background: int = 0,
        **kwargs: Unpack[ClassLossArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.ratio = in_range("ratio", ratio, 0.0, float("inf"))
        self.background = whole_number("background", background, low=-float("inf"))

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each anchor."""
        if batch.soft:
            raise ValueError(
                "Hard negative mining needs integer labels. Received: targets of "
                f"{batch.num_classes} classes"
            )
        losses = batch.in_shape(batch.cross_entropy)
        positive = batch.unflatten(ops.not_equal(batch.labels, self.background))
        anchors = ops.ones_like(losses)
        if batch.sample_weight is not None:
            # A loss of 0 makes an ignored or masked anchor the easiest negative.
            anchors = batch.unflatten(batch.sample_weight)
            positive = ops.logical_and(positive, anchors > 0.0)
        kept = hardest_negatives(ops.stop_gradient(losses), positive, self.ratio)
        count = ops.sum(ops.cast(positive, losses.dtype))
        scale = ops.sum(anchors) / at_least(count, 1.0)
        return ops.reshape(ops.where(kept, losses * scale, 0.0), (-1,))


hard_negative_ce = function_of(HardNegativeCE)
