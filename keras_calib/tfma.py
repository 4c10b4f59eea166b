"""Calibration metrics for TensorFlow Model Analysis, in its own API.

It needs the extra `beam`, and is imported by name. The import registers the metrics, so
that a `MetricConfig` finds them by `class_name`:

```
from tensorflow_model_analysis.proto import config_pb2

import keras_calib.tfma

ece = config_pb2.MetricConfig(
    class_name="ExpectedCalibrationError",
    config='{"num_bins": 15}',
    threshold=config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(upper_bound={"value": 0.05})
    ),
)
```

Predictions are the probabilities of K classes, or that of label 1 of a binary problem,
which is measured as two classes, as in `keras_calib.evaluate`. A model exported by
`keras_calib.serving.export` gives them with
`ModelSpec(signature_name="serving_default", prediction_key="probabilities",
model_type="tf_generic")`, loaded with the tag `"serve"`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

from keras_calib import metrics
from keras_calib.arguments import whole_number
from keras_calib.beam import Accumulator, BinStatisticsFn, SumsFn
from keras_calib.ops.arrays import require
from keras_calib.ops.binary_batch import is_one_probability, two_classes
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import in_numpy

__all__ = [
    "BrierScore",
    "CalibrationGap",
    "DebiasedCalibrationError",
    "ExpectedCalibrationError",
    "NegativeLogLikelihood",
]


class Found(NamedTuple):
    """The sums of a slice.

    Args:
        bins: the statistics of the top label.
        nll: the sum of -log p of the labels.
        brier: the sum of the squared errors over all classes.
    """

    bins: metrics.BinStatistics
    nll: float
    brier: float

    def mean(self, total: float) -> float:
        """Returns the mean for a sum; NaN if the weight is 0."""
        weight = self.bins.total
        return total / weight if weight else float("nan")


class _Metric(metric_types.Metric):
    """Base of the metrics: a formula on what all of them share.

    Args:
        num_bins: the number of bins.
        name: the name of the figure.
    """

    default_name: str
    formula: Callable[[Any], float]

    def __init__(self, num_bins: int = 15, name: str = "") -> None:
        create = metric_util.merge_per_key_computations(self._computations)
        whole_number("num_bins", num_bins)
        super().__init__(create, num_bins=num_bins, name=name or self.default_name)

    @classmethod
    def _computations(
        cls,
        num_bins: int,
        name: str,
        eval_config: Any = None,
        model_name: str = "",
        output_name: str = "",
        example_weighted: bool = False,
    ) -> list[Any]:
        _require_probabilities(eval_config)
        place = {
            "model_name": model_name,
            "output_name": output_name,
            "example_weighted": example_weighted,
        }
        # A name that starts with _ is not shown. Metrics of equally many bins share it.
        shared = metric_types.MetricKey(name=f"_keras_calib_{num_bins}", **place)
        key = metric_types.MetricKey(name=name, **place)
        combiner = _FoundFn(shared, eval_config, num_bins)
        return [
            metric_types.MetricComputation([shared], None, combiner),
            metric_types.DerivedMetricComputation(
                [key], lambda found: {key: cls.formula(found[shared])}
            ),
        ]


class ExpectedCalibrationError(_Metric):
    """The expected calibration error of the top label.

    Args:
        num_bins: the number of equal-width bins.
        name: the name of the figure; by default `ece`.
    """

    default_name = "ece"
    formula = staticmethod(lambda found: found.bins.ece())


class DebiasedCalibrationError(_Metric):
    """The l2 error of the top label without the part that sampling noise adds.

    Args:
        num_bins: the number of equal-width bins.
        name: the name of the figure; by default `ece_l2_debiased`.
    """

    default_name = "ece_l2_debiased"
    formula = staticmethod(lambda found: found.bins.debiased_ece())


class CalibrationGap(_Metric):
    """Mean confidence minus accuracy: positive is overconfident.

    Args:
        num_bins: the number of bins; metrics with the same number share their sums.
        name: the name of the figure; by default `calibration_gap`.
    """

    default_name = "calibration_gap"
    formula = staticmethod(lambda found: found.bins.gap())


class BrierScore(_Metric):
    """The mean squared error of the probabilities, summed over the classes.

    Args:
        num_bins: the number of bins; metrics with the same number share their sums.
        name: the name of the figure; by default `brier_score`.
    """

    default_name = "brier_score"
    formula = staticmethod(lambda found: found.mean(found.brier))


class NegativeLogLikelihood(_Metric):
    """The mean of -log p of the labels, in nats.

    Args:
        num_bins: the number of bins; metrics with the same number share their sums.
        name: the name of the figure; by default `negative_log_likelihood`.
    """

    default_name = "negative_log_likelihood"
    formula = staticmethod(lambda found: found.mean(found.nll))


for _metric in (
    ExpectedCalibrationError,
    DebiasedCalibrationError,
    CalibrationGap,
    BrierScore,
    NegativeLogLikelihood,
):
    metric_types.register_metric(_metric)


class _FoundFn(SumsFn):
    """Sums up the inputs of TFMA.

    Args:
        key: the key of the result.
        eval_config: says where labels and predictions are.
        num_bins: the number of bins.
    """

    def __init__(self, key: Any, eval_config: Any, num_bins: int) -> None:
        self._key, self._eval_config = key, eval_config
        ece = metrics.ExpectedCalibrationError(num_bins)
        self._bins = BinStatisticsFn(ece)
        self._shape = (num_bins, 4)

    def add_input(self, accumulator: Accumulator, element: Any) -> Accumulator:
        """Adds an example."""
        rows = metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            example_weighted=self._key.example_weighted,
            flatten=False,
            require_single_example_weight=True,
        )
        for y, p, weight in rows:
            row = _scalar(y), _scalar(p), float(np.ravel(weight)[0])
            accumulator = super().add_input(accumulator, row)
        return accumulator

    def sums(
        self, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None
    ) -> np.ndarray:
        """Returns the sums over the bins, and of both scores."""
        bins = self._bins.sums(y_true, y_pred, weight)
        if is_one_probability(y_pred):
            y_true, y_pred = two_classes(y_true, y_pred, False)
        batch = ClassBatch(y_true, y_pred, weight, dtype="float64")
        values = map(in_numpy, (batch.cross_entropy, batch.squared_error))
        w = in_numpy(weight)
        scores = [x[w > 0] @ w[w > 0] for x in values]
        return np.append(bins.ravel(), scores)

    def extract_output(self, accumulator: Accumulator) -> dict[Any, Found]:
        """Returns what the figures are computed from."""
        total, _ = self.compact(accumulator)
        if total is None:
            total = np.zeros(np.prod(self._shape) + 2)
        bins = metrics.BinStatistics(*total[:-2].reshape(self._shape).T)
        return {self._key: Found(bins, *map(float, total[-2:]))}


def _scalar(x: Any) -> Any:
    """Returns an array of one number as the number."""
    return np.ravel(x)[0] if np.size(x) == 1 else x


def _require_probabilities(eval_config: Any) -> None:
    """Refuses signatures that do not return the probabilities of all classes."""
    for spec in eval_config.model_specs if eval_config else ():
        require(
            spec.signature_name not in ("classify", "logits", "regress"),
            "calibration is measured on probabilities: use "
            'signature_name="serving_default"',
            f"signature_name={spec.signature_name!r}",
        )
