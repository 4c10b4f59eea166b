"""Calibration error without bins."""

from __future__ import annotations

from typing import Unpack

from keras_calib.arguments import saveable
from keras_calib.metrics.base import CalibrationMetric, MetricArguments
from keras_calib.metrics.compensated import CompensatedSum
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.smooth import NUM_NODES, node_sums, smooth_ece
from keras_calib.types import Tensor

__all__ = ["SmoothECE"]


@saveable
class SmoothECE(CalibrationMetric):
    """Smooth calibration error of the top label: kernels in place of bins.

    Formula, for confidence c, hit h and a Gaussian kernel K of bandwidth sigma
    that is reflected at 0 and 1:

    ```
    smece(sigma) = integral |E[(c - h) K_sigma(t, c)]| dt,   sigma = smece(sigma)
    ```

    It changes continuously with the confidences, while errors over bins jump, and the
    distance to the nearest calibrated predictor bounds it above and below. The state is
    two sums at each of 1001 nodes, between which samples are split as in relplot. The
    bandwidth is found in steps of 2^-10 and the integral on a few hundred points, as in
    relplot 1.0.3, with the same results. Where the error is below 0.01, this grid is
    coarse; `keras_calib.evaluate` takes a finer one. relplot gives a sample at
    confidence 0 or 1 half its weight; here it has its full weight. The search takes
    about a millisecond, and Keras asks for the result at every step of `fit`.

    Example:

    >>> import keras_calib
    >>> ece = keras_calib.metrics.SmoothECE()
    >>> ece.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(ece.result()), 4)
    0.2495

    Reference:

    - Blasiok, Nakkiran, "Smooth ECE: Principled Reliability Diagrams via Kernel
      Smoothing", ICLR 2024.
    """

    reads = "confidence", "hit"

    def __init__(self, **kwargs: Unpack[MetricArguments]) -> None:
        super().__init__(**kwargs)
        self._sums = CompensatedSum(self, (2, NUM_NODES))

    def accumulate(self, batch: ClassBatch) -> None:
        """Adds the sums at the nodes."""
        self._sums.add(node_sums(batch.top_label), batch.sound)

    def result(self) -> Tensor:
        """Returns the error, in [0, 1]."""
        return smooth_ece(self._sums.tensor())
