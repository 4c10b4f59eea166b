"""Cross-entropy of logits that are adjusted by the frequencies of the classes."""

from collections.abc import Sequence
from typing import Unpack

import numpy as np

from keras_calib.arguments import in_range, numbers, saveable
from keras_calib.losses.base import CrossEntropy, ScoreLossArguments, TrueClassLoss
from keras_calib.losses.functions import function_of

__all__ = ["LogitAdjustedCE", "logit_adjusted_ce"]


@saveable
class LogitAdjustedCE(CrossEntropy, TrueClassLoss):
    """Cross-entropy of logits plus a multiple of the classes' log-frequencies.

    Formula, for logits z and the frequencies pi of the classes in training:

    ```
    loss = -log softmax(z + strength * log(pi))_y
    ```

    The model learns what the frequencies do not explain: at strength 1, softmax(z) are
    the probabilities that would be right if all classes were equally frequent, and
    softmax(z + log(pi)) are those of the training data. A rare class gets a margin,
    where `AlphaBalancedCE` gives its samples a weight.

    Args:
        priors: the frequency of each class, or its number of samples, above 0.
        strength: a factor, at least 0.

    Call arguments:
        y_pred: logits of shape `(..., K)`.

    Raises:
        ValueError: for a class that does not occur.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.LogitAdjustedCE([0.9, 0.1])
    >>> round(float(loss([1], [[0.0, 0.0]])), 6)
    2.302585

    Reference:

    - Menon et al., "Long-tail Learning via Logit Adjustment", ICLR 2021,
      [arXiv:2007.07314](https://arxiv.org/abs/2007.07314), section 4.2.
    """

    def __init__(
        self,
        priors: Sequence[float],
        strength: float = 1.0,
        **kwargs: Unpack[ScoreLossArguments],
    ) -> None:
        super().__init__(from_logits=True, **kwargs)
        if np.ndim(priors) != 1 or len(priors) < 2 or not np.all(priors):
            raise ValueError(
                "`priors` must be a number above 0 for each of at least 2 classes. "
                f"Received: {priors!r}"
            )
        self.priors = numbers("priors", priors, 0.0, float("inf"), len(priors))
        self.strength = in_range("strength", strength, 0.0, float("inf"))
        self.score_shift = (self.strength * np.log(self.priors)).tolist()


logit_adjusted_ce = function_of(LogitAdjustedCE)
