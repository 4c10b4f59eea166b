"""Whether confidence tells which predictions to trust."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.arguments import in_range
from keras_calib.metrics.base import RankedMetric
from keras_calib.ops.ranked import accuracy_at_coverage, area_under_risk_coverage


@keras.saving.register_keras_serializable(package="keras_calib")
class AURC(RankedMetric):
    """Area under the risk-coverage curve: do the confident samples err less?

    Formula, for N samples in falling order of confidence with errors e_i:

    ```
    aurc = 1/N sum_n (1/n sum_{i <= n} e_i)
    ```

    The mean error rate of the n most confident samples over all n; 0 where nothing
    is wrong, the error rate where confidence is of no use. It depends on the order
    of confidences alone and says nothing of calibration: a model can be well
    ordered and overconfident. Ties count as the mean over their orders. It streams
    through 4608 fine bins, whose samples count as ties; `keras_calib.evaluate` sorts
    all samples.

    Args:
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments: as of `ExpectedCalibrationError`.

    Raises:
        ValueError: for shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> aurc = keras_calib.metrics.AURC()
    >>> aurc.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(aurc.result()), 6)
    0.25

    Reference:

    - Geifman, Uziel, El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural
      Classifiers", ICLR 2019, section 3.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "aurc",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def of_cells(self, cells: Any) -> Any:
        """Returns the area, in [0, 1]."""
        return area_under_risk_coverage(cells)


@keras.saving.register_keras_serializable(package="keras_calib")
class AccuracyAtCoverage(RankedMetric):
    """Accuracy of the most confident share of the samples.

    Formula, for N samples in falling order of confidence with hits h_i and n =
    coverage * N, of which the last may count by its share:

    ```
    accuracy = 1/n sum_{i <= n} h_i
    ```

    What is reached where a model may pass on the rest. It streams through 4608 fine
    bins, of which one is cut: that one's share of n bounds the error.

    Args:
        coverage: the share of samples that is kept, in (0, 1].
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments: as of `ExpectedCalibrationError`.

    Raises:
        ValueError: for a coverage outside (0, 1] and shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> accuracy = keras_calib.metrics.AccuracyAtCoverage(0.5)
    >>> accuracy.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> float(accuracy.result())
    1.0
    """

    direction = "up"

    def __init__(
        self,
        coverage: float = 0.9,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "accuracy_at_coverage",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
        if not in_range("coverage", coverage, 0.0, 1.0):
            raise ValueError("`coverage` must be in (0, 1]. Received: 0")
        self.coverage = float(coverage)

    def of_cells(self, cells: Any) -> Any:
        """Returns the accuracy, in [0, 1]."""
        return accuracy_at_coverage(cells, self.coverage)
