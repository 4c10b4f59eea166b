"""How far confidence and accuracy are apart, in bins and overall."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from keras import ops

from keras_calib.arguments import one_of, saveable, whole_number
from keras_calib.metrics.base import BinnedMetric, EventMetric, MetricArguments
from keras_calib.metrics.bin_statistics import BinStatistics
from keras_calib.ops.calibration import (
    Binning,
    Norm,
    calibration_error,
    calibration_gap,
)
from keras_calib.ops.order_bounds import equal_mass_bound
from keras_calib.ops.ranked import equal_mass_sums
from keras_calib.types import Tensor

__all__ = ["CalibrationGap", "ExpectedCalibrationError", "MaximumCalibrationError"]


@saveable
class ExpectedCalibrationError(EventMetric):
    """Expected calibration error of the top label, over bins.

    Formula, for bins of weight n_m with mean confidence c_m and accuracy a_m; N is
    the sum of n_m:

    ```
    l1:  sum_m n_m / N * |c_m - a_m|
    l2:  sqrt(sum_m n_m / N * (c_m - a_m) ** 2)
    max: max_m |c_m - a_m|
    ```

    Equal-width bin m is [m/M, (m+1)/M), and the last bin is closed. The state is
    four sums per bin, compensated so that they stay exact past 2^24 samples. Without
    data the result is NaN, as for every metric.

    Equal-mass bins (adaptive ECE) each hold the same number of samples, as
    `numpy.array_split` divides them. They are cut out of sums over 4608 fine bins,
    which take 147 KB for any number of samples. A fine bin that is cut is divided in
    proportion. For the norm `"l1"`, `error_bound()` says how far that may be from the
    error of sorted samples; `keras_calib.evaluate` sorts them.

    Args:
        num_bins: the number of bins, M.
        norm: `"l1"`, `"l2"`, `"max"`, or `"l2_debiased"`, the l2 norm without the
            part that sampling noise adds.
        binning: `"equal_width"` or `"equal_mass"`.

    Example:

    >>> import keras_calib
    >>> ece = keras_calib.ExpectedCalibrationError(num_bins=2)
    >>> ece.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(ece.result()), 6)
    0.25

    References:

    - Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    - Nixon et al., "Measuring Calibration in Deep Learning", 2019, section 4
      (equal mass).
    """

    default_name = "ece"

    def __init__(
        self,
        num_bins: int = 15,
        norm: Norm = "l1",
        *,
        binning: Binning = "equal_width",
        **kwargs: Unpack[MetricArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_bins = whole_number("num_bins", num_bins)
        self.norm = one_of("norm", norm, Norm)
        self.binning = one_of("binning", binning, Binning)
        self.add_bins(self.num_bins if binning == "equal_width" else None)

    def result(self) -> Tensor:
        """Returns the error, in [0, 1]."""
        if self.binning == "equal_width":
            return calibration_error(self.sums(), self.norm)
        sums = equal_mass_sums(self.cells(), self.num_bins)
        return ops.cast(calibration_error(sums, self.norm), self.state_dtype)

    def statistics(self) -> BinStatistics:
        """Returns the statistics of the bins, as float64 numpy arrays.

        Statistics of equal-width bins add up. Those of equal-mass bins have different
        edges: add up `fine_statistics()`, and cut the sum.
        """
        return super().statistics()

    def statistics_of(self, state: np.ndarray) -> BinStatistics:
        """Returns the statistics of a state, cut into bins of equal mass if asked."""
        found = super().statistics_of(state)
        return (
            found if self.binning == "equal_width" else found.equal_mass(self.num_bins)
        )

    def fine_statistics(self) -> BinStatistics:
        """Returns the state: sums over M equal-width or 4608 fine bins."""
        return super().statistics_of(self._sums.numpy())

    def error_bound(self) -> float:
        """Bounds how far an equal-mass l1 error is from that of sorted samples."""
        if self.binning == "equal_width":
            return 0.0
        fine = self.fine_statistics()
        return equal_mass_bound(fine.sums, fine.edges, self.num_bins)


@saveable
class MaximumCalibrationError(BinnedMetric):
    """Maximum calibration error of the top label: the largest gap of any bin.

    Formula, for bins with mean confidence c_m and accuracy a_m:

    ```
    mce = max_m |c_m - a_m|
    ```

    A bin counts in full however few samples it holds, so the largest gap is often
    noise in a small bin. `statistics().table()` shows the weights.

    Example:

    >>> import keras_calib
    >>> mce = keras_calib.metrics.MaximumCalibrationError(num_bins=10)
    >>> mce.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(mce.result()), 6)
    0.7

    Reference:

    - Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using
      Bayesian Binning", AAAI 2015, section 3.
    """

    norm = "max"


@saveable
class CalibrationGap(EventMetric):
    """Mean confidence minus accuracy: positive is overconfident.

    Formula:

    ```
    gap = mean(max_k p_k) - mean(argmax_k p_k == y)
    ```

    Unlike the calibration error, it has a sign. Its absolute value is at most the
    calibration error. Neither direction is better: let `EarlyStopping` monitor another
    figure, such as the calibration error.

    Example:

    >>> import keras_calib
    >>> gap = keras_calib.CalibrationGap()
    >>> gap.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(gap.result()), 6)
    0.25
    """

    direction = None

    def __init__(self, **kwargs: Unpack[MetricArguments]) -> None:
        super().__init__(**kwargs)
        self.add_bins(1, squares=False)

    def result(self) -> Tensor:
        """Returns the gap, in [-1, 1]."""
        return calibration_gap(self.sums())
