"""Many metrics in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_calib.arguments import Configurable
from keras_calib.metrics.base import CalibrationMetric
from keras_calib.metrics.brier import BrierScore
from keras_calib.metrics.expected_calibration_error import (
    CalibrationGap,
    ExpectedCalibrationError,
    MaximumCalibrationError,
)
from keras_calib.metrics.likelihood import NegativeLogLikelihood

_DEFAULT = (
    ExpectedCalibrationError,
    MaximumCalibrationError,
    CalibrationGap,
    BrierScore,
    NegativeLogLikelihood,
)


@keras.saving.register_keras_serializable(package="keras_calib")
class CalibrationMetrics(Configurable, keras.metrics.Metric):
    """Computes any set of calibration metrics in one pass over the batch.

    The batch is read once (largest probability, predicted class, softmax, sums over
    bins), and every metric takes what it needs. In the logs and in History each
    appears under its own name; a callback that monitors one wants `mode="min"`, for
    Keras cannot see into the set.

    Args:
        metrics: metrics of `keras_calib.metrics` with names of their own; by default
            the expected and the maximum calibration error, the gap, the Brier score
            and the negative log-likelihood.
        from_logits: whether predictions are logits, for every metric of the set.
        ignore_class: integer label whose samples count for nothing, likewise.
        name: name of the set.
        dtype: dtype of the default metrics.

    Call arguments: as of the metrics.

    Raises:
        ValueError: for two metrics of one name, and for what is not one of
            `keras_calib.metrics`.

    Example:

    >>> import keras_calib
    >>> from keras_calib.metrics import CalibrationMetrics, PredictiveEntropy
    >>> metrics = CalibrationMetrics([keras_calib.BrierScore(), PredictiveEntropy()])
    >>> metrics.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    >>> {name: round(float(x), 4) for name, x in metrics.result().items()}
    {'brier_score': 0.53, 'predictive_entropy': 0.5556}
    """

    def __init__(
        self,
        metrics: Sequence[CalibrationMetric] | None = None,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "calibration_metrics",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.from_logits = bool(from_logits)
        self.ignore_class = ignore_class
        if metrics is None:
            metrics = [metric(dtype=dtype) for metric in _DEFAULT]
        names = [getattr(metric, "name", None) for metric in metrics]
        if not all(isinstance(m, CalibrationMetric) for m in metrics):
            raise ValueError(
                "`metrics` must be metrics of keras_calib.metrics. "
                f"Received: {list(metrics)}"
            )
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"`metrics` must each have a name of their own. Received: {names}"
            )
        self.metrics = list(metrics)
        for metric in self.metrics:
            metric.from_logits, metric.ignore_class = self.from_logits, ignore_class

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes in a batch, see `CalibrationMetric.update_state`."""
        if isinstance(y_pred, list):
            y_pred = ops.convert_to_tensor(y_pred)
        batches = {}
        for metric in self.metrics:
            key = metric.reader(y_pred), metric.state_dtype
            if key not in batches:
                batches[key] = key[0](
                    y_true,
                    y_pred,
                    sample_weight,
                    from_logits=self.from_logits,
                    ignore_class=self.ignore_class,
                    dtype=key[1],
                )
            metric.accumulate(batches[key])

    def result(self) -> dict[str, Any]:
        """Returns the results of the metrics by name."""
        results = {}
        for metric in self.metrics:
            result = metric.result()
            results.update(
                result if isinstance(result, dict) else {metric.name: result}
            )
        return results

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, the metrics with their own."""
        metrics = [keras.saving.serialize_keras_object(m) for m in self.metrics]
        return {**super().get_config(), "metrics": metrics}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CalibrationMetrics:
        """Returns the set that `get_config` described."""
        metrics = map(keras.saving.deserialize_keras_object, config["metrics"])
        return cls(**{**config, "metrics": list(metrics)})
