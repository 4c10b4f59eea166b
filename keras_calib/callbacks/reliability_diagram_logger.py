"""The reliability diagram in TensorBoard, epoch by epoch."""

import itertools
import math
import os
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

from keras_calib._keras import compiled_metrics
from keras_calib.arguments import whole_number
from keras_calib.callbacks import held_out
from keras_calib.callbacks.logs import Logs, SeesValidation
from keras_calib.callbacks.parts import part_of
from keras_calib.metrics import BinStatistics, ExpectedCalibrationError
from keras_calib.viz.display import png
from keras_calib.viz.reliability import ReliabilityDisplay

__all__ = ["ReliabilityDiagramLogger"]


class _Measured(NamedTuple):
    """An output of the model, and the metric that measures it."""

    name: str | None
    place: int
    metric: Any


class ReliabilityDiagramLogger(SeesValidation):
    """Writes the reliability diagram and its numbers to TensorBoard.

    At the end of each epoch it writes the diagram as an image, and as scalars the
    expected calibration error, the gap, the over- and underconfidence and the Brier
    score of the confidences.

    If the model has an `ExpectedCalibrationError` (or `MaximumCalibrationError`,
    `BinaryECE`; alone or in `CalibrationMetrics`) among its metrics, they are read
    from its state, which costs no prediction. After validation that state describes the
    validation data; without validation, the epoch's training batches, each with the
    weights of its step. `data` is predicted if the model has no such metric, or if no
    validation ran. If the model has several outputs, each one with such a metric is
    written under its own name. Figures that are NaN are written without a diagram.

    Args:
        log_dir: folder of the event files.
        data: `(x, y)`, `(x, y, sample_weight)`, or an iterable of such batches: a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a list.
        metric: the metric that measures `data`; by default a copy of the model's,
            or `ExpectedCalibrationError()`.
        batch_size: samples of `data` that are predicted at once.

    Raises:
        ValueError: if `data` can be read only once; in `fit`, if there is neither
            `data` nor a metric, or only `data` of a model of several outputs.

    Warns:
        UserWarning: for figures that are NaN.

    Example:

    >>> import tempfile
    >>> from keras_calib.callbacks import ReliabilityDiagramLogger
    >>> x, y = np.eye(3), np.arange(3)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    >>> ece = keras_calib.ExpectedCalibrationError(from_logits=True)
    >>> model.compile("adam", keras_calib.GammaCE(0.1, from_logits=True), metrics=[ece])
    >>> logger = ReliabilityDiagramLogger(tempfile.mkdtemp())
    >>> history = model.fit(
    ...     x, y, validation_data=(x, y), verbose=0, callbacks=[logger]
    ... )
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        data: Any = None,
        *,
        metric: held_out.BinnedMetric | None = None,
        batch_size: int = 256,
    ) -> None:
        super().__init__()
        self.log_dir = str(log_dir)
        self.data = held_out.readable_again(data)
        self.metric = metric
        self.batch_size = whole_number("batch_size", batch_size)
        self._writer: Any = None
        self._is_checked = False

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Checks, once the first batch has made the metrics, what can be measured."""
        if self._is_checked or self._streamed():
            return
        self._is_checked = True
        if self.data is not None:
            self._measure(itertools.islice(self._batches(), 1))
        else:
            raise ValueError(
                "ReliabilityDiagramLogger needs an ExpectedCalibrationError among the "
                "model's metrics, or data. Received: data=None, metrics="
                f"{[m.name for m in self.model.metrics]}"
            )

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Writes the diagrams of the epoch."""
        measured = self._streamed()
        if measured and (self._validated or self.data is None):
            kind = "validation" if self._validated else "train"
        else:
            kind, measured = "data", self._measure(self._batches())
        for name, _, metric in measured:
            of_output = f"{kind}/{name}" if name else kind
            self._write(of_output, metric.statistics(), epoch)

    def on_train_end(self, logs: Logs = None) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _streamed(self) -> list[_Measured]:
        """Returns the first metric with bins of each output that has one."""
        found: dict[int, _Measured] = {}
        for name, place, metrics in compiled_metrics(self.model):
            if (metric := held_out.binned_metric(metrics)) is not None:
                found.setdefault(place, _Measured(name, place, metric))
        # A model may have metrics that are not given to `compile`.
        if not found and (metric := held_out.binned_metric(self.model.metrics)):
            found[0] = _Measured(None, 0, metric)
        return list(found.values())

    def _batches(self) -> Iterable[tuple[Any, ...]]:
        return held_out.batches(self.data, self.batch_size)

    def _measure(self, batches: Iterable[tuple[Any, ...]]) -> list[_Measured]:
        streamed = self._streamed()
        measured = []
        for name, place, metric in streamed or [_Measured(None, 0, None)]:
            like = self.metric or metric or ExpectedCalibrationError()
            copied = type(like).from_config(like.get_config())
            measured.append(_Measured(name, place, copied))
        for x, y, *weight in batches:
            y_pred = self.model(x, training=False)
            outputs = len(y_pred) if isinstance(y_pred, dict | list | tuple) else 1
            if outputs > 1 and not streamed:
                raise ValueError(
                    "ReliabilityDiagramLogger cannot tell which output to draw: give "
                    "compile an ExpectedCalibrationError for it, such as metrics="
                    "{'name': [ExpectedCalibrationError()]}. Received: "
                    f"{outputs} outputs, {list(y_pred)[:outputs]}"
                )
            for name, place, metric in measured:
                parts = [part_of(part, name, place) for part in (y, y_pred, *weight)]
                metric.update_state(*parts)
        return measured

    def _write(self, kind: str, statistics: BinStatistics, epoch: int) -> None:
        import tensorflow as tf
        from matplotlib.figure import Figure

        names = ("ece", "gap", "overconfidence", "underconfidence")
        scalars = {name: getattr(statistics, name)() for name in names}
        scalars["brier"] = statistics.brier_score()
        # Written as protocol buffers, which needs no TensorBoard.
        summary = tf.compat.v1.Summary()
        for name, value in scalars.items():
            summary.value.add(tag=f"calibration/{kind}/{name}", simple_value=value)
        if math.isfinite(statistics.ece()):
            # pyplot does not know this figure, so that no window opens.
            figure = Figure(figsize=(4, 4.8), dpi=100, layout="tight")
            title = f"{kind}, epoch {epoch + 1}"
            ReliabilityDisplay({title: statistics}).plot(figure.add_subplot())
            width, height = figure.canvas.get_width_height()
            image = tf.compat.v1.Summary.Image(
                encoded_image_string=png(figure),
                width=width,
                height=height,
                colorspace=4,
            )
            summary.value.add(tag=f"calibration/{kind}/reliability", image=image)
        else:
            warnings.warn(
                f"ReliabilityDiagramLogger: the {kind} figures of epoch {epoch + 1} "
                "are NaN, so there is no diagram: predictions are NaN or not "
                "probabilities, or no sample counts",
                stacklevel=3,
            )
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.log_dir)
        with self._writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), epoch)
        self._writer.flush()
