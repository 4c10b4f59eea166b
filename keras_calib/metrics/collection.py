"""Many metrics in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras

from keras_calib.arguments import Configurable, default_name, saveable
from keras_calib.metrics.base import CalibrationMetric, tensors_of
from keras_calib.metrics.brier import BrierScore
from keras_calib.metrics.expected_calibration_error import (
    CalibrationGap,
    ExpectedCalibrationError,
    MaximumCalibrationError,
)
from keras_calib.metrics.likelihood import NegativeLogLikelihood
from keras_calib.metrics.multilabel import MultilabelECE
from keras_calib.ops.batch import Batch
from keras_calib.ops.reader import is_binary, reading_of
from keras_calib.types import Tensor

__all__ = ["CalibrationMetrics"]

_DEFAULT: tuple[type[CalibrationMetric], ...] = (
    ExpectedCalibrationError,
    MaximumCalibrationError,
    CalibrationGap,
    BrierScore,
    NegativeLogLikelihood,
)


@saveable
class CalibrationMetrics(Configurable, keras.metrics.Metric):
    """Computes any set of calibration metrics in one pass over the batch.

    The largest probability, the predicted class, the softmax and the sums over bins are
    computed once for all metrics. Each metric appears in the logs and in `History`
    under its own name. A callback that monitors one needs `mode="min"` or `"max"`,
    because Keras does not see into the set. Do not monitor `calibration_gap`, for which
    neither direction is better.

    `CalibrationMetrics.like(loss)` makes metrics that read a batch as a loss does.

    The metrics must read a batch in the same way: their `from_logits`, `ignore_class`
    and `axis` must agree. With the default metrics, those of the set apply. The call
    arguments are those of the metrics.

    Args:
        metrics: a list of metrics of `keras_calib.metrics` with different names; by
            default the expected and the maximum calibration error, the gap, the Brier
            score and the negative log-likelihood.
        from_logits: whether `y_pred` are logits; by default as in the metrics.
        ignore_class: integer label whose samples are ignored; by default as in the
            metrics.
        axis: the axis of the classes; by default as in the metrics.
        name: name of the set.
        dtype: dtype of the default metrics.

    Raises:
        ValueError: if two metrics have the same name or results of the same name, if
            they read batches differently, and if one is not from `keras_calib.metrics`.

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
        from_logits: bool | None = None,
        ignore_class: int | None = None,
        axis: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or default_name(type(self)), dtype=dtype)
        reading = dict(from_logits=from_logits, ignore_class=ignore_class, axis=axis)
        given: dict[str, Any] = {k: v for k, v in reading.items() if v is not None}
        if metrics is None:
            metrics = [metric(dtype=dtype, **given) for metric in _DEFAULT]
        if not isinstance(metrics, list | tuple) or not all(
            isinstance(metric, CalibrationMetric) for metric in metrics
        ):
            raise ValueError(
                "`metrics` must be a list of metrics of keras_calib.metrics, such as "
                f"[BrierScore(), AURC()]. Received: {metrics}"
            )
        self.metrics = list(metrics)
        names = [metric.name for metric in self.metrics]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"`metrics` must have different names. Received: {names}")
        for argument in reading:
            first = "the set" if argument in given else repr(names[0])
            expected = given.get(argument, getattr(self.metrics[0], argument))
            for metric in self.metrics:
                if (found := getattr(metric, argument)) != expected:
                    raise ValueError(
                        f"The metrics of a set must agree in `{argument}`. Received: "
                        f"{argument}={expected!r} of {first}, and "
                        f"{argument}={found!r} of {metric.name!r}"
                    )
            setattr(self, argument, expected)

    @classmethod
    def like(
        cls,
        loss: keras.losses.Loss,
        metrics: Sequence[CalibrationMetric | type[CalibrationMetric]] | None = None,
        *,
        name: str | None = None,
        dtype: Any = None,
    ) -> CalibrationMetrics:
        """Returns metrics that read a batch as a loss does.

        Their `from_logits`, `ignore_class` and `axis` are the loss's.

        Args:
            loss: a loss of classes or of binary labels, also one of Keras's.
            metrics: metrics, whose other arguments are kept, or their classes. By
                default they are those of the set; beside a loss of binary labels
                `MultilabelECE`, which is `BinaryECE` where there is one label.
            name: name of the set.
            dtype: dtype of metrics that are given as classes or by default.

        Raises:
            ValueError: if the loss has no `from_logits`.

        Example:

        >>> import keras_calib
        >>> loss = keras_calib.GammaCE(0.1, from_logits=True)
        >>> keras_calib.CalibrationMetrics.like(loss, [keras_calib.AURC])
        CalibrationMetrics([AURC(from_logits=True)])
        """
        known = isinstance(loss, keras.losses.Loss)
        reading: Any = reading_of(loss if known else None)
        if reading["from_logits"] is None:
            raise ValueError(
                "`loss` must be a loss of classes or of binary labels, which has "
                f"`from_logits`. Received: {loss!r}"
            )
        default = [MultilabelECE] if is_binary(loss) else _DEFAULT
        made = []
        metric: Any
        for metric in default if metrics is None else metrics:
            if isinstance(metric, CalibrationMetric):
                config = {**metric.get_config(), **reading}
                made.append(type(metric).from_config(config))
            else:
                made.append(metric(**reading, dtype=dtype))
        return cls(made, name=name)

    @property
    def reads(self) -> list[str]:
        """What the metrics read of `ops.TokenStatistics`."""
        return [name for metric in self.metrics for name in metric.reads]

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Adds a batch; see `CalibrationMetric`."""
        y_true, y_pred, weight = tensors_of(y_true, y_pred, sample_weight)
        batches: dict[tuple[type[Batch], str], Batch] = {}
        for metric in self.metrics:
            key = metric.reader(y_pred), metric.state_dtype
            if key not in batches:
                batches[key] = metric.read(y_true, y_pred, weight)
            metric.accumulate(batches[key])

    def result(self) -> dict[str, Tensor]:
        """Returns the results of the metrics by name."""
        return results_by_name(self.metrics)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, and the metrics with theirs."""
        metrics = [keras.saving.serialize_keras_object(m) for m in self.metrics]
        return {**super().get_config(), "metrics": metrics}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CalibrationMetrics:
        """Returns the set that `get_config` described."""
        metrics = map(keras.saving.deserialize_keras_object, config["metrics"])
        return cls(**{**config, "metrics": list(metrics)})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.metrics)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The metrics copy themselves, with their state.
        arguments = super().get_config()
        return _remade, (type(self), {**arguments, "metrics": list(self.metrics)})


def _remade(cls: type[CalibrationMetrics], arguments: Any) -> CalibrationMetrics:
    return cls(**arguments)


def results_by_name(metrics: Iterable[CalibrationMetric]) -> dict[str, Tensor]:
    """Returns the results of metrics, some of which have several, by name."""
    results: dict[str, Tensor] = {}
    for metric in metrics:
        result = metric.result()
        figures = result if isinstance(result, dict) else {metric.name: result}
        if both := results.keys() & figures.keys():
            raise ValueError(
                f"Two metrics of a set have results of the same name: {sorted(both)}. "
                f"Put {metric!r} into another set"
            )
        results |= figures
    return results
