"""Calibration error as a distance of distributions."""

from __future__ import annotations

from keras_calib.arguments import saveable
from keras_calib.metrics.base import RankedMetric
from keras_calib.ops.calibration import BinSums
from keras_calib.ops.ranked import ks_error
from keras_calib.types import Tensor

__all__ = ["KSCalibrationError"]


@saveable
class KSCalibrationError(RankedMetric):
    """Kolmogorov-Smirnov calibration error of the top label.

    Formula, for samples with confidence c_i, hit h_i and weight w_i:

    ```
    ks = max_t |sum_{c_i <= t} w_i (c_i - h_i)| / sum_i w_i
    ```

    It is the largest gap between cumulative confidence and cumulative accuracy. It
    needs no bins, and is at least the absolute calibration gap. It streams through
    4608 fine bins, and is too low by at most the fraction of samples in the fullest
    of them; `keras_calib.evaluate` sorts all samples.

    Example:

    >>> import keras_calib
    >>> ks = keras_calib.metrics.KSCalibrationError()
    >>> ks.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(ks.result()), 6)
    0.35

    Reference:

    - Gupta et al., "Calibration of Neural Networks using Splines", ICLR 2021,
      section 3.
    """

    def of_cells(self, cells: BinSums) -> Tensor:
        """Returns the error, in [0, 1]."""
        return ks_error(cells)
