"""How well confidence separates right predictions from wrong ones."""

from __future__ import annotations

from typing import Unpack

from keras_calib.arguments import in_range, saveable
from keras_calib.metrics.base import MetricArguments, RankedMetric
from keras_calib.ops.calibration import BinSums
from keras_calib.ops.ranked import accuracy_at_coverage, area_under_risk_coverage
from keras_calib.types import Tensor

__all__ = ["AURC", "AccuracyAtCoverage"]


@saveable
class AURC(RankedMetric):
    """Area under the risk-coverage curve: do confident samples have fewer errors?

    Formula, for N samples in descending order of confidence with errors e_i:

    ```
    aurc = 1/N sum_n (1/n sum_{i <= n} e_i)
    ```

    It is the error rate of the n most confident samples, averaged over n. It is 0
    without errors, and the error rate if confidence says nothing about errors. It
    depends only on the order of confidences, not on calibration: an overconfident model
    may order its samples well. Ties count as the mean over all their orders. The metric
    streams through 4608 fine bins, whose samples count as ties; `keras_calib.evaluate`
    sorts all samples.

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

    def of_cells(self, cells: BinSums) -> Tensor:
        """Returns the area, in [0, 1]."""
        return area_under_risk_coverage(cells)


@saveable
class AccuracyAtCoverage(RankedMetric):
    """Accuracy of the most confident fraction of the samples.

    Formula, for N samples in descending order of confidence with hits h_i, and n =
    coverage * N, where the last sample may count in part:

    ```
    accuracy = 1/n sum_{i <= n} h_i
    ```

    It is the accuracy of a model that may abstain on the other samples. It streams
    through 4608 fine bins, one of which is cut: the fraction of n in that bin bounds
    the error.

    Args:
        coverage: the fraction of samples that is kept, in (0, 1].

    Example:

    >>> import keras_calib
    >>> accuracy = keras_calib.metrics.AccuracyAtCoverage(0.5)
    >>> accuracy.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> float(accuracy.result())
    1.0
    """

    direction = "up"

    def __init__(
        self, coverage: float = 0.9, **kwargs: Unpack[MetricArguments]
    ) -> None:
        super().__init__(**kwargs)
        if not in_range("coverage", coverage, 0.0, 1.0):
            raise ValueError("`coverage` must be in (0, 1]. Received: 0")
        self.coverage = float(coverage)

    def of_cells(self, cells: BinSums) -> Tensor:
        """Returns the accuracy, in [0, 1]."""
        return accuracy_at_coverage(cells, self.coverage)
