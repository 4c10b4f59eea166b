"""Losses of the order of scores."""

from keras import ops

from keras_calib._keras import get_keras_mask
from keras_calib.arguments import saveable
from keras_calib.losses.base import CalibrationLoss
from keras_calib.losses.functions import function_of
from keras_calib.ops.floats import at_least, at_least_float32
from keras_calib.types import Tensor

__all__ = ["PairwiseAUCLoss", "pairwise_auc_loss"]


@saveable
class PairwiseAUCLoss(CalibrationLoss):
    """A smooth bound of the fraction of pairs in the wrong order, 1 - AUC.

    Formula, over all pairs of a positive i and a negative j in the batch:

    ```
    loss = mean_{i, j} log(1 + exp(f_j - f_i))
    ```

    loss / log 2 is at least 1 - AUC of the batch, where a tie counts one half. A batch
    without positives, or without negatives, gives 0. It trains only the order: the
    scores are not probabilities until they are calibrated.

    The loss belongs to a batch and takes memory of batch x batch. Each sample gets half
    of the loss of each of its pairs, so that the mean that Keras takes is the loss
    above, and with sample weights w a pair counts (w_i + w_j) / 2 times. Masked samples
    form no pairs. Under a distribution strategy, pairs are formed in each replica's
    batch.

    Call arguments:
        y_true: labels in {0, 1} of shape `(batch,)` or `(batch, 1)`.
        y_pred: scores f of shape `(batch,)` or `(batch, 1)`; logits rather than
            probabilities.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.PairwiseAUCLoss()
    >>> round(float(loss([1, 1, 1, 0, 0], [2.0, 0.5, 1.0, 0.0, 1.5])), 6)
    0.612614

    Reference:

    - Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback",
      UAI 2009, [arXiv:1205.2618](https://arxiv.org/abs/1205.2618), section 4.1.1.
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns what each sample contributes to the loss, of shape (batch,)."""
        for x in (y_true, y_pred):
            if len(x.shape) != 1 and not (len(x.shape) == 2 and x.shape[1] == 1):
                raise ValueError(
                    "`y_true` and `y_pred` must be of shape (batch,) or (batch, 1). "
                    f"Received: y_true.shape={tuple(y_true.shape)}, "
                    f"y_pred.shape={tuple(y_pred.shape)}"
                )
        f = ops.reshape(at_least_float32(y_pred), (-1,))
        y = ops.reshape(ops.cast(y_true, f.dtype), (-1,))
        y = ops.where(ops.logical_and(y >= 0.0, y <= 1.0), y, float("nan"))
        mask = get_keras_mask(y_pred)
        kept = ops.ones_like(f)
        if mask is not None:
            kept = ops.reshape(ops.cast(mask, f.dtype), (-1,))
            y = ops.where(kept > 0.0, y, 0.0)
        # Row i, column j: the pair of a positive i and a negative j.
        pair = ops.expand_dims(y * kept, 1) * ((1.0 - y) * kept)
        # Other pairs get a gap of 0, since 0 * inf is NaN.
        gap = ops.where(pair == 0.0, 0.0, f - ops.expand_dims(f, 1))
        losses = pair * ops.softplus(gap)
        pairs = at_least(ops.sum(pair), 1e-6)
        batch = ops.sum(kept)
        shares = ops.sum(losses, axis=1) + ops.sum(losses, axis=0)
        return shares * (0.5 * batch / pairs)


pairwise_auc_loss = function_of(PairwiseAUCLoss)
