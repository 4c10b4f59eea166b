"""Label smoothing in both of its conventions."""

from typing import Literal, TypeAlias, Unpack

from keras_calib.arguments import in_range, one_of, saveable
from keras_calib.losses.base import ClassLossArguments, CrossEntropy, TrueClassLoss
from keras_calib.losses.functions import function_of

__all__ = ["LabelSmoothingCE", "label_smoothing_ce"]

Convention: TypeAlias = Literal["uniform", "others"]


@saveable
class LabelSmoothingCE(CrossEntropy, TrueClassLoss):
    """Cross-entropy with smoothed labels. Integer labels are not made one-hot.

    Formula, by convention, with e = `label_smoothing`:

    ```
    uniform: loss = -(1 - e) log p_y - e / K * sum_j log p_j
    others:  loss = -(1 - e) log p_y - e / (K - 1) * sum_{j != y} log p_j
    ```

    `"uniform"` is the convention of Szegedy et al. and of Keras: the true class keeps
    1 - e + e / K. `"others"` (MindSpore's) leaves it 1 - e, and equals the uniform
    convention with e K / (K - 1). State which one you use: at e = 0.1 the two differ.
    The smallest loss is the entropy of the smoothed label, not 0. The model becomes
    underconfident.

    Args:
        label_smoothing: number e in [0, 1]; for `"others"` at most (K - 1) / K.
        convention: `"uniform"` or `"others"`.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.LabelSmoothingCE(0.1, "others", from_logits=True)
    >>> round(float(loss([2], [[-1.5, 0.5, 5.0, -0.5]])), 6)
    0.566561

    Reference:

    - Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
      CVPR 2016, section 7.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        convention: Convention = "uniform",
        **kwargs: Unpack[ClassLossArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.label_smoothing = in_range("label_smoothing", label_smoothing, 0.0, 1.0)
        self.convention = one_of("convention", convention, Convention)

    def smoothing(self, num_classes: int) -> float:
        """Returns e in the uniform convention."""
        if self.convention == "uniform":
            return self.label_smoothing
        largest = (num_classes - 1) / num_classes
        return in_range("label_smoothing", self.label_smoothing, 0, largest) / largest


label_smoothing_ce = function_of(LabelSmoothingCE)
