"""The reliability diagram in TensorBoard, epoch by epoch."""

import os
from typing import Any

import keras

from keras_calib.arguments import whole_number
from keras_calib.callbacks import held_out
from keras_calib.callbacks.logs import Logs, was_validated
from keras_calib.metrics import BinStatistics, ExpectedCalibrationError
from keras_calib.viz.display import png
from keras_calib.viz.reliability import ReliabilityDisplay

__all__ = ["ReliabilityDiagramLogger"]


class ReliabilityDiagramLogger(keras.callbacks.Callback):
    """Writes the reliability diagram and its numbers to TensorBoard.

    At the end of each epoch it writes the diagram as an image, and as scalars the
    expected calibration error, the gap, the over- and underconfidence and the Brier
    score of the confidences.

    If the model has an `ExpectedCalibrationError` (or `MaximumCalibrationError`,
    `BinaryECE`; alone or in `CalibrationMetrics`) among its metrics, they are read
    from its state, which costs no prediction. After validation that state is of the
    validation data; without validation, of the epoch's training batches, seen while
    the weights moved. `data` is predicted if the model has no such metric, or if no
    validation ran.

    Args:
        log_dir: folder of the event files.
        data: `(x, y)`, `(x, y, sample_weight)`, or an iterable of such batches: a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a list.
        metric: the metric that measures `data`; by default a copy of the model's,
            or `ExpectedCalibrationError()`.
        batch_size: samples of `data` that are predicted at once.

    Raises:
        ValueError: if `data` can be read only once; in `fit`, if there is neither
            `data` nor a metric.

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

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Checks, once the first batch has made the metrics, that there is one."""
        if self.data is None and held_out.binned_metric(self.model) is None:
            raise ValueError(
                "ReliabilityDiagramLogger needs an ExpectedCalibrationError among the "
                "model's metrics, or data. Received: data=None, metrics="
                f"{[m.name for m in self.model.metrics]}"
            )

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Writes the diagram of the epoch."""
        validated = was_validated(logs)
        streamed = held_out.binned_metric(self.model)
        if streamed is not None and (validated or self.data is None):
            kind = "validation" if validated else "train"
            self._write(kind, streamed.statistics(), epoch)
        else:
            self._write("data", self._measure(streamed), epoch)

    def on_train_end(self, logs: Logs = None) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _measure(self, streamed: held_out.BinnedMetric | None) -> BinStatistics:
        like = self.metric or streamed or ExpectedCalibrationError()
        metric: held_out.BinnedMetric = type(like).from_config(like.get_config())
        for x, y, *weight in held_out.batches(self.data, self.batch_size):
            metric.update_state(y, self.model(x, training=False), *weight)
        return metric.statistics()

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
        # A figure that pyplot does not know, so that no window opens.
        figure = Figure(figsize=(4, 4.8), dpi=100, layout="tight")
        title = f"{kind}, epoch {epoch + 1}"
        ReliabilityDisplay({title: statistics}).plot(figure.add_subplot())
        width, height = figure.canvas.get_width_height()
        image = tf.compat.v1.Summary.Image(
            encoded_image_string=png(figure), width=width, height=height, colorspace=4
        )
        summary.value.add(tag=f"calibration/{kind}/reliability", image=image)
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.log_dir)
        with self._writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), epoch)
        self._writer.flush()
