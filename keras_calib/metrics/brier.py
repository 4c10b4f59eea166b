"""The Brier score."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_calib.arguments import one_of, whole_number
from keras_calib.metrics.base import CalibrationMetric, MeanMetric
from keras_calib.metrics.compensated import CompensatedSum
from keras_calib.ops.binary_batch import OneLabelBatch
from keras_calib.ops.binning import bin_index, bin_sums
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import weighted
from keras_calib.ops.floats import divide_no_nan

_PARTS = (
    "reliability",
    "resolution",
    "uncertainty",
    "within_variance",
    "within_covariance",
)


@keras.saving.register_keras_serializable(package="keras_calib")
class BrierScore(MeanMetric):
    """Mean squared distance between predicted probabilities and labels.

    Formula, summed over classes as Brier had it (0 to 2), or their mean:

    ```
    sum:    score = mean(sum_k (p_k - y_k) ** 2)
    mean:   score = mean(1/K sum_k (p_k - y_k) ** 2)
    binary: score = mean((p - y) ** 2)
    ```

    The binary score (0 to 1) is that of one probability a sample, and the mean of
    two classes.

    Args:
        class_reduction: `"sum"` or `"mean"`.
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name in the logs.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments:
        y_true: integer labels of shape `(...)` or `(..., 1)`, or one-hot or soft
            targets of shape `(..., K)`.
        y_pred: logits or probabilities of shape `(..., K)`; or of the label 1, of
            shape `(N,)` or `(..., 1)`.
        sample_weight: weights of shape `(...)` or of its leading axes.

    Raises:
        ValueError: for an unknown reduction and shapes that do not fit.

    Example:

    >>> import keras_calib
    >>> brier = keras_calib.BrierScore()
    >>> brier.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> round(float(brier.result()), 6)
    0.53

    Reference:

    - Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly
      Weather Review 78 (1950).
    """

    def __init__(
        self,
        class_reduction: str = "sum",
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "brier_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
        self.class_reduction = one_of(
            "class_reduction", class_reduction, ("sum", "mean")
        )

    def reader(self, y_pred: Any) -> type:
        """Returns the class that reads a batch of such predictions."""
        binary = len(y_pred.shape) < 2 or y_pred.shape[-1] == 1
        return OneLabelBatch if binary else ClassBatch

    def values(self, batch: ClassBatch | OneLabelBatch) -> Any:
        """Returns the squared distance of each sample."""
        if self.class_reduction == "sum":
            return batch.squared_error
        return batch.squared_error / batch.num_classes


@keras.saving.register_keras_serializable(package="keras_calib")
class BrierDecomposition(CalibrationMetric):
    """The Brier score in parts: calibration, discrimination and what is left.

    Formula, for groups g of samples of weight n_g with mean probabilities p_g and
    mean labels y_g (vectors over the classes), and the mean label y of all samples:

    ```
    score = reliability - resolution + uncertainty
            + within_variance - within_covariance
    reliability       = sum_g n_g / N ||p_g - y_g||^2    how far off: 0 is best
    resolution        = sum_g n_g / N ||y_g - y||^2      how well told apart
    uncertainty       = mean ||label||^2 - ||y||^2       of the labels alone
    within_variance   = mean ||p - p_g||^2               what the groups hide
    within_covariance = 2 mean (p - p_g) (label - y_g)   of the probabilities' use
    ```

    The result holds these five by name, `"brier_reliability"` and so on; their sum
    is `BrierScore`. The parts of the top label's confidence alone are
    `BinStatistics.brier_decomposition()`.

    `tfp.stats.brier_decomposition` groups by predicted class, too. Its uncertainty
    is less by 1, its reliability is reliability + within_variance, and its
    resolution takes the share of the predicted class where the formula has that of
    each class (TFP 0.25), so that its parts do not sum to its score.

    Args:
        by: `"predicted_class"`, or `"confidence"` for equal-width bins.
        num_bins: the number of bins by confidence.
        from_logits: whether predictions are logits.
        ignore_class: integer label whose samples count for nothing.
        name: name of the metric.
        dtype: `"float64"` for state and arithmetic in float64, else float32.

    Call arguments: as of `ExpectedCalibrationError`.

    Raises:
        ValueError: for an unknown grouping, `num_bins` < 1 and shapes that do not
            fit.

    Example:

    >>> import keras_calib
    >>> parts = keras_calib.metrics.BrierDecomposition()
    >>> parts.update_state([0, 1, 1], [[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    >>> {name: round(float(part), 4) for name, part in parts.result().items()}
    {'brier_reliability': 0.09, 'brier_resolution': 0.1111,
     'brier_uncertainty': 0.4444, 'brier_within_variance': 0.0033,
     'brier_within_covariance': 0.0667}

    References:

    - Murphy, "A New Vector Partition of the Probability Score", Journal of Applied
      Meteorology 12 (1973).
    - Stephenson, Coelho, Jolliffe, "Two Extra Components in the Brier Score
      Decomposition", Weather and Forecasting 23 (2008).
    """

    direction = None  # it depends on the part

    def __init__(
        self,
        by: str = "predicted_class",
        num_bins: int = 15,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "brier_decomposition",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
        self.by = one_of("by", by, ("predicted_class", "confidence"))
        self.num_bins = whole_number("num_bins", num_bins)
        self._groups: CompensatedSum | None = None
        self._totals = CompensatedSum(self, (3,))

    def accumulate(self, batch: ClassBatch) -> None:
        """Adds weight, probabilities and labels to the groups."""
        k = batch.num_classes
        groups = k if self.by == "predicted_class" else self.num_bins
        if self._groups is None:
            self._groups = CompensatedSum(self, (groups, 1 + 2 * k))
        if self.by == "predicted_class":
            index = batch.predicted
        else:
            index = bin_index(batch.confidence, groups, batch.precision)
        weight, p, y = bin_sums(
            weighted(batch.sample_weight, batch.probabilities, batch.targets),
            index,
            groups,
        )
        weight = ops.expand_dims(ops.cast(weight, p.dtype), -1)
        self._groups.add(ops.concatenate([weight, p, y], axis=-1))
        squares = [
            batch.squared_error,
            ops.sum(ops.square(batch.probabilities), axis=-1),
            ops.sum(ops.square(batch.targets), axis=-1),
        ]
        self._totals.add(
            ops.concatenate(bin_sums(weighted(batch.sample_weight, *squares)[1:]))
        )

    def result(self) -> dict[str, Any]:
        """Returns the five parts by name."""
        if self._groups is None:
            parts = dict.fromkeys(_PARTS, ops.zeros(()))
        else:
            parts = dict(zip(_PARTS, self._parts(self._groups.double()), strict=True))
        return {
            f"brier_{name}": ops.cast(part, self.state_dtype)
            for name, part in parts.items()
        }

    def _parts(self, sums: Any) -> tuple[Any, ...]:
        weight, total = sums[:, :1], ops.sum(sums[:, 0])
        k = (sums.shape[1] - 1) // 2
        means = divide_no_nan(sums[:, 1:], weight)
        p, y = means[:, :k], means[:, k:]
        base = divide_no_nan(ops.sum(sums[:, 1 + k :], axis=0), total)

        def mean_square(x):
            return divide_no_nan(ops.sum(weight * ops.square(x)), total)

        totals = divide_no_nan(self._totals.double(), total)
        score, p_square, label_square = ops.unstack(totals, 3)
        reliability, resolution = mean_square(p - y), mean_square(y - base)
        uncertainty = label_square - ops.sum(ops.square(base))
        variance = p_square - mean_square(p)
        covariance = reliability - resolution + uncertainty + variance - score
        return reliability, resolution, uncertainty, variance, covariance
