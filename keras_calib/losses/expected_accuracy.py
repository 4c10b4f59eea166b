"""The expected error rate of scores with noise: EXACT and the smooth accuracy."""

from typing import Literal, TypeAlias, Unpack

from keras import ops

from keras_calib.arguments import (
    boolean,
    in_range,
    one_of,
    saveable,
    unless_none,
    whole_number,
)
from keras_calib.losses.base import ClassLoss, ClassLossArguments
from keras_calib.losses.functions import function_of
from keras_calib.losses.schedules import Schedule
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.expected_accuracy import log_argmax_probability
from keras_calib.ops.floats import at_least, dtype_name
from keras_calib.ops.gradients import entry
from keras_calib.ops.robust import smooth_error_value, smooth_error_weight
from keras_calib.types import Tensor

__all__ = ["ExpectedAccuracyLoss", "expected_accuracy_loss"]

Noise: TypeAlias = Literal["gaussian", "gumbel"]


@saveable
class ExpectedAccuracyLoss(ClassLoss):
    """One minus the accuracy that is expected when noise is added to the logits.

    Formula, for logits z, the true class y and K independent draws of noise:

    ```
    loss = 1 - P,   P = P(argmax_j (z_j + sigma * noise_j) = y)
    ```

    `"gaussian"` noise is EXACT. P is an integral over one variable, computed by
    quadrature: up to K = 1000 it is off by less than 1e-7, and its gradient by less
    than 1e-6 / sigma; in float32, P is off by less than 6e-7. For two classes it is
    Phi((z_y - z_other) / (sigma sqrt 2)).
    `"gumbel"` noise gives P = softmax(z / sigma)_y, the smooth accuracy: sigma is
    the temperature, and with `log=True` the loss is cross-entropy.

    As sigma falls to 0 the loss becomes the error rate, and its gradient vanishes
    away from the boundary: start with a large sigma and anneal it, as the paper
    does from 10 to 0.01, with `HyperparameterScheduler`. The authors' code divides the
    logits of each batch by their standard deviation first, so that its sigma and margin
    are relative to that.

    1 - P is smallest where all of P is on the most probable class, so it does not train
    probabilities. -log P, with noise of a fixed size, is proper. Soft targets take K
    quadratures for each sample.

    Args:
        noise: `"gaussian"` or `"gumbel"`.
        sigma: size of the noise, at least 1e-6. For probabilities it is 1.
        margin: a lead z_y - z_j counts no more than this; `None` for no limit.
        log: whether the loss is -log P instead of 1 - P.
        nodes: nodes of the quadrature, at least 2; by default 16, above 100 classes 20,
            and 4 more for each further factor of 10.
        from_logits: whether `y_pred` are logits; Gaussian noise needs logits.

    Call arguments:
        y_pred: logits of shape `(..., K)`, or probabilities for Gumbel noise.

    Attributes:
        sigma: a `Hyperparameter` that callbacks may change, or that follows the
            schedule given in its place.

    Raises:
        ValueError: for Gaussian noise, a margin or a sigma other than 1 with
            probabilities.

    Examples:

    >>> import keras_calib
    >>> loss = keras_calib.ExpectedAccuracyLoss(sigma=1.0, from_logits=True)
    >>> round(float(loss([0], [[1.0, 0.2, -0.5]])), 5)
    0.34405

    Annealed:

    >>> from keras_calib.callbacks import HyperparameterScheduler, exponential
    >>> x, y = np.eye(3), np.arange(3)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    >>> model.compile("adam", loss, metrics=["accuracy", loss.sigma])
    >>> scheduler = HyperparameterScheduler("sigma", exponential(10.0, 0.01))
    >>> history = model.fit(x, y, epochs=4, verbose=0, callbacks=[scheduler])
    >>> [round(sigma, 4) for sigma in history.history["sigma"]]
    [10.0, 1.0, 0.1, 0.01]

    Reference:

    - Karpukhin, Dereka, Kolesnikov, "EXACT: How to Train Your Accuracy",
      [arXiv:2205.09615](https://arxiv.org/abs/2205.09615), sections 3 and 4. They
      sample P with 16 points; the margin is theirs, too.
    """

    def __init__(
        self,
        noise: Noise = "gaussian",
        sigma: float | Schedule = 1.0,
        margin: float | None = None,
        *,
        log: bool = False,
        nodes: int | None = None,
        **kwargs: Unpack[ClassLossArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.noise = one_of("noise", noise, Noise)
        if not self.from_logits and (noise == "gaussian" or margin is not None):
            raise ValueError(
                "Gaussian noise and a margin need logits: use from_logits=True and a "
                f"head without softmax. Received: noise={noise!r}, margin={margin!r}, "
                "from_logits=False"
            )
        low, high = (1e-6, float("inf")) if self.from_logits else (1.0, 1.0)
        self.sigma = self.hyperparameter("sigma", sigma, low, high)
        self.margin = unless_none(in_range, "margin", margin, 0.0, float("inf"))
        self.log = boolean("log", log)
        self.nodes = unless_none(whole_number, "nodes", nodes, 2)

    def sample_losses(self, batch: ClassBatch) -> Tensor:
        """Returns the loss of each sample."""
        if self.noise == "gumbel" and self.margin is None:
            return self._gumbel(batch)
        return batch.expected_loss(self._of_labels)

    def _of_labels(self, labels: Tensor, z: Tensor) -> Tensor:
        if self.margin is not None:
            z_y = ops.expand_dims(entry(z, labels), -1)
            z = at_least(z, z_y - self.margin)
        if self.noise == "gumbel":
            return self._gumbel(ClassBatch(labels, z, from_logits=True))
        mu = z / self.sigma.tensor(dtype_name(z))
        log_p = log_argmax_probability(labels, mu, self.nodes)
        return -log_p if self.log else 0.0 - ops.expm1(log_p)

    def _gumbel(self, batch: ClassBatch) -> Tensor:
        if batch.from_logits and self.from_logits:
            sigma = self.sigma.tensor(dtype_name(batch.scores))
            batch = batch.with_scores(batch.scores / sigma)
        if self.log:
            return batch.cross_entropy
        return batch.loss(smooth_error_value, smooth_error_weight)


expected_accuracy_loss = function_of(ExpectedAccuracyLoss)
