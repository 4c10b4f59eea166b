"""How far confidence and accuracy are apart, in bins and overall."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_calib.config import one_of
from keras_calib.metrics.base import BinnedMetric


@keras.saving.register_keras_serializable(package="keras_calib")
class ExpectedCalibrationError(BinnedMetric):
    """Expected calibration error of the top label, over equal-width bins.

    Formula, for bins of weight n_m with mean confidence c_m and accuracy a_m, N
    the sum of n_m:

    ```
    l1:  sum_m n_m / N * |c_m - a_m|
    l2:  sqrt(sum_m n_m / N * (c_m - a_m) ** 2)
    max: max_m |c_m - a_m|
    ```

    Bin m is [m/M, (m+1)/M) and the last one is closed. The state is three sums a
    bin, compensated so that they stay right past 2^24 samples. Without data the
    result is 0.

    Args:
        num_bins: the number of bins, M.
        norm: `"l1"`, `"l2"` or `"max"` (the maximum calibration error).
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
        ValueError: for `num_bins` < 1, an unknown norm and shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> ece = keras_calib.ExpectedCalibrationError(num_bins=2)
    >>> ece.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(ece.result()), 6)
    0.25

    Reference:

    - Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    """

    def __init__(
        self,
        num_bins: int = 15,
        norm: str = "l1",
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "ece",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_bins,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
        self.norm = one_of("norm", norm, ("l1", "l2", "max"))

    def result(self) -> Any:
        """Returns the error, in [0, 1]."""
        weight, confidence, hits = self.bins()
        gap = ops.abs(confidence - hits)
        if self.norm == "max":
            return ops.max(ops.divide_no_nan(gap, weight))
        if self.norm == "l1":
            return ops.divide_no_nan(ops.sum(gap), ops.sum(weight))
        squares = ops.sum(gap * ops.divide_no_nan(gap, weight))
        return ops.sqrt(ops.divide_no_nan(squares, ops.sum(weight)))


@keras.saving.register_keras_serializable(package="keras_calib")
class CalibrationGap(BinnedMetric):
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
            1,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def result(self) -> Any:
        """Returns the gap, in [-1, 1]."""
        weight, confidence, hits = self.bins()
        return ops.divide_no_nan(confidence - hits, weight)[0]
