"""How far confidence and accuracy are apart, in bins and overall."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_calib.arguments import one_of, whole_number
from keras_calib.metrics.base import BinnedMetric, EventMetric
from keras_calib.metrics.bin_statistics import BinStatistics
from keras_calib.ops.bin_statistics import BinSums, calibration_error, calibration_gap
from keras_calib.ops.ranked import equal_mass_error_bound, equal_mass_sums


@keras.saving.register_keras_serializable(package="keras_calib")
class ExpectedCalibrationError(EventMetric):
    """Expected calibration error of the top label, over bins.

    Formula, for bins of weight n_m with mean confidence c_m and accuracy a_m, N
    the sum of n_m:

    ```
    l1:  sum_m n_m / N * |c_m - a_m|
    l2:  sqrt(sum_m n_m / N * (c_m - a_m) ** 2)
    max: max_m |c_m - a_m|
    ```

    Equal-width bin m is [m/M, (m+1)/M) and the last one is closed. The state is
    four sums a bin, compensated so that they stay right past 2^24 samples. Without
    data the result is 0.

    Equal-mass bins hold the same number of samples each, as `numpy.array_split` has
    it. They are cut out of sums over 4608 fine bins (147 KB of state, whatever the
    number of samples); a fine bin that is cut gives its share to both sides.
    `error_bound()` says how far this can be from sorting all samples (norm `"l1"`),
    and `keras_calib.evaluate` sorts them.

    Args:
        num_bins: the number of bins, M.
        norm: `"l1"`, `"l2"` or `"max"` (the maximum calibration error).
        binning: `"equal_width"` or `"equal_mass"`.
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or one-hot or soft
            targets of shape `(..., K)`; a soft target counts as a hit to the
            degree that it names the predicted class.
        y_pred: logits or probabilities of shape `(..., K)`, K >= 2.
        sample_weight: weights of shape `(...)` or of its leading axes.

    Raises:
        ValueError: for `num_bins` < 1, an unknown norm or binning, and shapes that
            do not fit.

    Example:

    >>> import keras_calib
    >>> ece = keras_calib.ExpectedCalibrationError(num_bins=2)
    >>> ece.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(ece.result()), 6)
    0.25

    Reference:

    - Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    - Nixon et al., "Measuring Calibration in Deep Learning", 2019, section 4
      (equal mass).
    """

    def __init__(
        self,
        num_bins: int = 15,
        norm: str = "l1",
        *,
        binning: str = "equal_width",
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "ece",
        dtype: Any = None,
    ) -> None:
        one_of("binning", binning, ("equal_width", "equal_mass"))
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
        self.num_bins = whole_number("num_bins", num_bins)
        self.add_bins(self.num_bins if binning == "equal_width" else None)
        self.norm = one_of("norm", norm, ("l1", "l2", "max"))
        self.binning = binning

    def result(self) -> Any:
        """Returns the error, in [0, 1]."""
        if self.binning == "equal_width":
            return calibration_error(self.sums(), self.norm)
        cells = BinSums.unstack(self._sums.double())
        error = calibration_error(equal_mass_sums(cells, self.num_bins), self.norm)
        return ops.cast(error, self.state_dtype)

    def statistics(self) -> BinStatistics:
        """Returns what has been seen, as float64 numpy arrays.

        Statistics of equal-width bins add up; those of equal-mass bins differ in
        their edges: add up `fine_statistics()` and cut the sum.
        """
        if self.binning == "equal_width":
            return super().statistics()
        return self.fine_statistics().equal_mass(self.num_bins)

    def fine_statistics(self) -> BinStatistics:
        """Returns the state: sums over M equal-width or 4608 fine bins."""
        return super().statistics()

    def error_bound(self) -> float:
        """Bounds how far an equal-mass l1 error is from that of sorted samples."""
        if self.binning == "equal_width":
            return 0.0
        cells = BinSums.unstack(self._sums.double())
        return float(equal_mass_error_bound(cells, self.num_bins))


@keras.saving.register_keras_serializable(package="keras_calib")
class MaximumCalibrationError(BinnedMetric):
    """Maximum calibration error of the top label: the largest gap of any bin.

    Formula, for bins with mean confidence c_m and accuracy a_m:

    ```
    mce = max_m |c_m - a_m|
    ```

    A bin counts in full however few samples it holds: among small bins this
    measures luck. `statistics().table()` shows the weights.

    Args:
        num_bins: the number of equal-width bins.
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments: as of `ExpectedCalibrationError`.

    Raises:
        ValueError: for `num_bins` < 1 and shapes that do not fit.

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

    def __init__(
        self,
        num_bins: int = 15,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "maximum_calibration_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_bins,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def result(self) -> Any:
        """Returns the error, in [0, 1]."""
        return calibration_error(self.sums(), "max")


@keras.saving.register_keras_serializable(package="keras_calib")
class CalibrationGap(EventMetric):
    """Mean confidence minus accuracy: above 0 overconfident, below 0 under.

    Formula:

    ```
    gap = mean(max_k p_k) - mean(argmax_k p_k == y)
    ```

    It has the sign that the calibration error lacks, and is at most as large.

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
    >>> gap = keras_calib.CalibrationGap()
    >>> gap.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(gap.result()), 6)
    0.25
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "calibration_gap",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
        self.add_bins(1)

    def result(self) -> Any:
        """Returns the gap, in [-1, 1]."""
        return calibration_gap(self.sums())
