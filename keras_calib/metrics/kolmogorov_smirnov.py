"""Calibration error as a distance of distributions."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.metrics.base import RankedMetric
from keras_calib.ops.ranked import ks_error


@keras.saving.register_keras_serializable(package="keras_calib")
class KSCalibrationError(RankedMetric):
    """Kolmogorov-Smirnov calibration error of the top label.

    Formula, for samples with confidence c_i, hit h_i and weight w_i:

    ```
    ks = max_t |sum_{c_i <= t} w_i (c_i - h_i)| / sum_i w_i
    ```

    The largest gap between the cumulated confidence and the cumulated accuracy: no
    bins, and at least the absolute calibration gap. It streams through 4608 fine
    bins and is at most the share of samples in the fullest of them too low;
    `keras_calib.evaluate` sorts all samples.

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
    >>> ks = keras_calib.metrics.KSCalibrationError()
    >>> ks.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(ks.result()), 6)
    0.35

    Reference:

    - Gupta et al., "Calibration of Neural Networks using Splines", ICLR 2021,
      section 3.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "ks_calibration_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def of_cells(self, cells: Any) -> Any:
        """Returns the error, in [0, 1]."""
        return ks_error(cells)
