"""The Brier score."""

from __future__ import annotations

from typing import Literal, TypeAlias, Unpack

from keras import ops

from keras_calib.arguments import one_of, saveable, whole_number
from keras_calib.metrics.base import CalibrationMetric, MeanMetric, MetricArguments
from keras_calib.metrics.compensated import CompensatedSum
from keras_calib.ops.batch import Batch
from keras_calib.ops.binary_batch import OneLabelBatch, is_one_probability
from keras_calib.ops.binning import bin_index
from keras_calib.ops.calibration import BinSums, brier_parts, ratio, weighted_mean
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import weighted
from keras_calib.ops.floats import divide_no_nan, namespace
from keras_calib.ops.sums import bin_sums
from keras_calib.types import Tensor

__all__ = ["BrierDecomposition", "BrierScore"]

ClassReduction: TypeAlias = Literal["sum", "mean"]
Grouping: TypeAlias = Literal["predicted_class", "confidence"]


@saveable
class BrierScore(MeanMetric):
    """Mean squared distance between predicted probabilities and labels.

    Formula: the sum over classes, as in Brier's article (0 to 2), or their mean:

    ```
    sum:    score = mean(sum_k (p_k - y_k) ** 2)
    mean:   score = mean(1/K sum_k (p_k - y_k) ** 2)
    binary: score = mean((p - y) ** 2)
    ```

    The binary score (0 to 1) is that of one probability per sample. It equals the
    mean over two classes.

    Args:
        class_reduction: `"sum"` or `"mean"`.

    Call arguments:
        y_pred: logits or probabilities of shape `(..., K)`; or of label 1, of shape
            `(N,)` or `(..., 1)`.

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

    reads = ("squared_error",)

    def __init__(
        self,
        class_reduction: ClassReduction = "sum",
        **kwargs: Unpack[MetricArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.class_reduction = one_of(
            "class_reduction", class_reduction, ClassReduction
        )

    def reader(self, y_pred: Tensor) -> type[Batch]:
        """Returns the class that reads a batch of these predictions."""
        return OneLabelBatch if is_one_probability(y_pred, self.axis) else ClassBatch

    def values(self, batch: ClassBatch | OneLabelBatch) -> Tensor:
        """Returns the squared distance of each sample."""
        if self.class_reduction == "sum":
            return batch.squared_error
        return batch.squared_error / batch.num_classes


@saveable
class BrierDecomposition(CalibrationMetric):
    """The Brier score in parts: calibration, discrimination and the rest.

    Formula, for groups g of samples of weight n_g with mean probabilities p_g and
    mean labels y_g (vectors over the classes), and the mean label y of all samples:

    ```
    score = reliability - resolution + uncertainty
            + within_variance - within_covariance
    reliability       = sum_g n_g / N ||p_g - y_g||^2
    resolution        = sum_g n_g / N ||y_g - y||^2
    uncertainty       = mean ||label||^2 - ||y||^2
    within_variance   = mean ||p - p_g||^2
    within_covariance = 2 mean (p - p_g) (label - y_g)
    ```

    The reliability measures miscalibration (0 is best), the resolution how much the
    labels of the groups differ, and the uncertainty depends on the labels alone. The
    last two parts are the spread of the probabilities inside a group, and how far the
    labels follow it.

    The result holds these five by name, `"brier_reliability"` and so on; added and
    subtracted as above, they are `BrierScore`. `BinStatistics.brier_decomposition()`
    gives the parts of the top label's confidence alone.

    `tfp.stats.brier_decomposition` also groups by predicted class. Its uncertainty is
    less by 1, its reliability is reliability + within_variance, and its resolution
    takes the frequency of the predicted class where the formula has that of each
    class (TFP 0.25), so that its parts do not sum to its score.

    Args:
        by: `"predicted_class"`, or `"confidence"` for equal-width bins.
        num_bins: the number of bins by confidence.

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
        by: Grouping = "predicted_class",
        num_bins: int = 15,
        **kwargs: Unpack[MetricArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.by = one_of("by", by, Grouping)
        self.num_bins = whole_number("num_bins", num_bins)
        # The first batch determines the numbers of groups and of classes.
        self._groups = CompensatedSum(self, (0, 3))
        self._squares = CompensatedSum(self, (3,))

    def accumulate(self, batch: ClassBatch) -> None:
        """Adds weights, probabilities, labels and their squares."""
        if self.by == "predicted_class":
            groups, index = batch.num_classes, batch.predicted
        else:
            groups = self.num_bins
            index = bin_index(batch.confidence, groups, batch.precision)
        p, y = batch.probabilities, batch.targets
        sums = group_sums(batch.sample_weight, p, y, index, groups)
        self._groups.add(sums, batch.sound)
        self._add_squares(batch)

    def _add_squares(self, batch: ClassBatch) -> None:
        p, y = batch.probabilities, batch.targets
        squares = [ops.sum(ops.square(x), axis=-1) for x in (p, y)]
        _, *sums = bin_sums(
            weighted(batch.sample_weight, batch.squared_error, *squares)
        )
        self._squares.add(ops.concatenate(sums), batch.sound)

    def _sums(self) -> tuple[Tensor, Tensor]:
        """Returns the sums of the groups, of shape (G, 1 + 2 K), and of the squares."""
        return self._groups.double(), self._squares.double()

    def result(self) -> dict[str, Tensor]:
        """Returns the five parts by name."""
        sums, squares = self._sums()
        xp, k = namespace(sums), (sums.shape[-1] - 1) // 2
        weight, p, y = sums[:, 0], sums[:, 1 : 1 + k], sums[:, 1 + k :]
        groups = BinSums(weight, xp.transpose(p), xp.transpose(y))
        squares = ratio(squares, xp.sum(weight))
        score, p_square, label_square = squares[0], squares[1], squares[2]
        parts = brier_parts(groups, score, label_square)
        p_means = divide_no_nan(groups.confidence, weight)
        variance = p_square - xp.sum(weighted_mean(groups, groups.confidence * p_means))
        parts["within_variance"] = variance
        parts["within_covariance"] = variance - parts.pop("within_bin")
        return {f"brier_{k}": ops.cast(v, self.state_dtype) for k, v in parts.items()}


def group_sums(
    sample_weight: Tensor, p: Tensor, y: Tensor, index: Tensor, groups: int
) -> Tensor:
    """Returns the weight, probabilities and labels of each group, (G, 1 + 2 K)."""
    weight, p, y = bin_sums(weighted(sample_weight, p, y), index, groups)
    weight = ops.expand_dims(ops.cast(weight, p.dtype), -1)
    return ops.concatenate([weight, p, y], axis=-1)
