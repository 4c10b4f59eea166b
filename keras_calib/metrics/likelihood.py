"""Negative log-likelihood of the labels, and entropy of the predictions."""

from __future__ import annotations

from keras import ops

from keras_calib.arguments import saveable
from keras_calib.metrics.base import MeanMetric
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.types import Tensor

__all__ = ["NegativeLogLikelihood", "Perplexity", "PredictiveEntropy"]


@saveable
class NegativeLogLikelihood(MeanMetric):
    """Mean negative log-probability of the labels, in nats.

    Formula:

    ```
    nll = mean(-sum_k y_k log p_k)
    ```

    From logits it is exact however improbable the label is: 10000 at a margin of
    -1e4. Of probabilities, a 0 is read as the smallest normal number, which costs
    87.3 nats in float32.

    Example:

    >>> import keras_calib
    >>> nll = keras_calib.metrics.NegativeLogLikelihood(from_logits=True)
    >>> nll.update_state([1], [[0.0, -10000.0]])
    >>> float(nll.result())
    10000.0
    """

    reads = ("log_probability",)
    _shows_bad_logits = True

    def values(self, batch: ClassBatch) -> Tensor:
        """Returns the cross-entropy of each sample."""
        return batch.negative_log_likelihood


@saveable
class Perplexity(NegativeLogLikelihood):
    """Exponential of the mean negative log-probability of the labels.

    Formula:

    ```
    perplexity = exp(mean(-log p_y))
    ```

    It is computed over all samples together, not averaged over batches. A model that
    is as uncertain as between k equally probable tokens has perplexity k.

    Example:

    >>> import keras_calib
    >>> perplexity = keras_calib.metrics.Perplexity()
    >>> perplexity.update_state([0, 1], [[0.5, 0.5], [0.75, 0.25]])
    >>> round(float(perplexity.result()), 6)
    2.828427
    """

    def result(self) -> Tensor:
        """Returns the perplexity, NaN without weight."""
        return ops.exp(super().result())


@saveable
class PredictiveEntropy(MeanMetric):
    """Mean entropy of the predictions, in nats. Labels serve only `ignore_class`.

    Formula:

    ```
    entropy = mean(-sum_k p_k log p_k)
    ```

    For a calibrated model it equals the negative log-likelihood on average; a smaller
    entropy means that the model is overconfident.

    Example:

    >>> import keras_calib
    >>> entropy = keras_calib.metrics.PredictiveEntropy()
    >>> entropy.update_state([0], [[0.5, 0.5]])
    >>> round(float(entropy.result()), 6)
    0.693147
    """

    direction = None
    reads = ("entropy",)
    _shows_bad_logits = True

    def values(self, batch: ClassBatch) -> Tensor:
        """Returns the entropy of each prediction."""
        return batch.entropy
