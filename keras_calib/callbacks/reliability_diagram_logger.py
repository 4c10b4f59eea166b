"""The reliability diagram in TensorBoard, epoch by epoch."""

from __future__ import annotations

import io
from typing import Any

import keras

from keras_calib.callbacks.held_out import batches, binned_metric, readable_again
from keras_calib.metrics import BinStatistics, ExpectedCalibrationError
from keras_calib.viz import ReliabilityDisplay


class ReliabilityDiagramLogger(keras.callbacks.Callback):
    """Writes the reliability diagram and its figures to TensorBoard.

    At the end of each epoch: the diagram as an image and the expected calibration
    error, the gap, the over- and underconfidence and the Brier score of the
    confidences as scalars.

    Where the model has an `ExpectedCalibrationError` (or `MaximumCalibrationError`,
    `BinaryECE`; alone or in `CalibrationMetrics`) among its metrics, they are read
    off its state, which costs no prediction: after validation it holds the
    validation data, without validation the epoch's training batches, seen while the
    weights moved. `data` is predicted where the model has no such metric, or no
    validation ran.

    Args:
        log_dir: folder of the event files.
        data: `(x, y)`, `(x, y, sample_weight)`, or an iterable of such batches: a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a list.
        metric: the metric that measures `data`; by default one as the model's, or
            `ExpectedCalibrationError()`.
        batch_size: samples of `data` that are predicted at once.

    Raises:
        ValueError: for `data` that can be read once only; in `fit`, where there is
            neither data nor a metric.

    Example:

    >>> import tempfile
    >>> from keras_calib.callbacks import ReliabilityDiagramLogger
    >>> x, y = np.eye(3), np.arange(3)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    >>> ece = keras_calib.ExpectedCalibrationError(from_logits=True)
    >>> model.compile("adam", keras_calib.GammaCE(from_logits=True), metrics=[ece])
    >>> logger = ReliabilityDiagramLogger(tempfile.mkdtemp())
    >>> history = model.fit(
    ...     x, y, validation_data=(x, y), verbose=0, callbacks=[logger]
    ... )
    """

    def __init__(
        self,
        log_dir: str,
        data: Any = None,
        *,
        metric: Any = None,
        batch_size: int = 256,
    ) -> None:
        super().__init__()
        self.log_dir = str(log_dir)
        self.data = readable_again(data)
        self.metric = metric
        self.batch_size = batch_size
        self._writer: Any = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Says at once, metrics being made by a batch, if there is none."""
        if self.data is None and binned_metric(self.model) is None:
            raise ValueError(
                "ReliabilityDiagramLogger needs an ExpectedCalibrationError among the "
                "model's metrics, or data. Received: data=None, metrics="
                f"{[m.name for m in self.model.metrics]}"
            )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes the diagram of the epoch."""
        validated = any(name.startswith("val_") for name in logs or {})
        streamed = binned_metric(self.model)
        if streamed is not None and (validated or self.data is None):
            kind = "validation" if validated else "train"
            self._write(kind, streamed.statistics(), epoch)
        else:
            self._write("data", self._measure(streamed), epoch)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _measure(self, streamed: Any) -> BinStatistics:
        metric = self.metric or streamed or ExpectedCalibrationError()
        metric = type(metric).from_config(metric.get_config())
        for x, y, *weight in batches(self.data, self.batch_size):
            metric.update_state(y, self.model(x, training=False), *weight)
        return metric.statistics()

    def _write(self, kind: str, statistics: BinStatistics, epoch: int) -> None:
        import tensorflow as tf

        figures = {
            "ece": statistics.ece(),
            "gap": statistics.gap(),
            "overconfidence": statistics.overconfidence(),
            "underconfidence": statistics.underconfidence(),
            "brier": statistics.brier_score(),
        }
        # The protocol buffers themselves, which need no TensorBoard to be written.
        summary = tf.compat.v1.Summary()
        for name, figure in figures.items():
            summary.value.add(tag=f"calibration/{kind}/{name}", simple_value=figure)
        png, width, height = _png(statistics, f"{kind}, epoch {epoch + 1}")
        image = tf.compat.v1.Summary.Image(
            encoded_image_string=png, width=width, height=height, colorspace=4
        )
        summary.value.add(tag=f"calibration/{kind}/reliability", image=image)
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.log_dir)
        with self._writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), epoch)
        self._writer.flush()


def _png(statistics: BinStatistics, title: str) -> tuple[bytes, int, int]:
    """Returns the diagram, its width and its height."""
    # A figure of its own, that pyplot and its windows know nothing of.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4.8), dpi=100, layout="tight")
    canvas = FigureCanvasAgg(figure)
    ReliabilityDisplay({title: statistics}).plot(figure.add_subplot())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue(), *canvas.get_width_height()
