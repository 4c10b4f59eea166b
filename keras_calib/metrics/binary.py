"""Calibration of one binary label."""

from __future__ import annotations

from typing import Literal, TypeAlias, Unpack

from keras_calib.arguments import one_of, saveable
from keras_calib.metrics.base import BinnedMetric, MetricArguments
from keras_calib.ops.binary_batch import OneLabelBatch
from keras_calib.ops.calibration import Norm
from keras_calib.ops.events import Events
from keras_calib.types import Tensor

__all__ = ["BinaryECE"]

Definition: TypeAlias = Literal["positive_class", "predicted_class"]


@saveable
class BinaryECE(BinnedMetric):
    """Expected calibration error of one binary label, in either definition.

    Both definitions are in use, and they differ: .386 and .182 in the example.

    - `"positive_class"` compares the probability p of label 1 with the observed rate
      of label 1, over bins of p in [0, 1].
    - `"predicted_class"` compares the confidence max(p, 1 - p) with the accuracy of
      the prediction p > 1/2. It is `ExpectedCalibrationError` of two classes.

    Formula, for bins of weight n_m with mean probability c_m and rate a_m:

    ```
    ece = sum_m n_m / N |c_m - a_m|
    ```

    Args:
        definition: `"positive_class"` or `"predicted_class"`.
        norm: `"l1"`, `"l2"`, `"max"`, or `"l2_debiased"`, the l2 norm without the
            part that sampling noise adds.

    Call arguments:
        y_true: labels in [0, 1] of shape `(...)` or `(..., 1)`, or one-hot labels of
            shape `(..., 2)`.
        y_pred: probabilities or logits of label 1, of shape `(...)` or `(..., 1)`, or
            of both labels, of shape `(..., 2)`.

    Example:

    >>> import keras_calib
    >>> p, y = [0.12, 0.33, 0.61, 0.82, 0.93], [0, 1, 1, 0, 1]
    >>> for definition in ("positive_class", "predicted_class"):
    ...     ece = keras_calib.metrics.BinaryECE(definition, num_bins=5)
    ...     ece.update_state(y, p)
    ...     print(round(float(ece.result()), 6))
    0.386
    0.182
    """

    # `num_bins` is stated for its position.
    def __init__(
        self,
        definition: Definition = "positive_class",
        num_bins: int = 15,
        norm: Norm = "l1",
        **kwargs: Unpack[MetricArguments],
    ) -> None:
        super().__init__(num_bins, **kwargs)
        self.definition = one_of("definition", definition, Definition)
        self.norm = one_of("norm", norm, Norm)

    def reader(self, y_pred: Tensor) -> type[OneLabelBatch]:
        """Returns the class that reads a batch."""
        return OneLabelBatch

    def events(self, batch: OneLabelBatch) -> Events:
        """Returns probabilities and outcomes, by the definition."""
        if self.definition == "positive_class":
            return batch.positive_class
        return batch.predicted_class
