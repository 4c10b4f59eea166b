"""Stops a fit by the refinement loss of held-out data, then calibrates the model."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_calib.arguments import in_range, label, one_of, unless_none, whole_number
from keras_calib.calibrators import CalibrationReport, Calibrator, calibrate
from keras_calib.calibrators.base import MIN_PROBABILITY
from keras_calib.calibrators.head import HeadReader
from keras_calib.calibrators.methods import Method
from keras_calib.calibrators.temperature import refinement_loss
from keras_calib.callbacks.held_out import readable_again
from keras_calib.callbacks.logs import Logs
from keras_calib.metrics.model_data import batches_of

__all__ = ["RefineThenCalibrate"]


class RefineThenCalibrate(keras.callbacks.Callback):
    """Trains until the refinement loss stops falling, then calibrates the best model.

    The loss of held-out data has two parts: what a temperature can remove, and the
    refinement loss, which it cannot (`RefinementLoss`). A model often grows
    overconfident while its predictions still improve. Then its validation loss rises,
    and would stop the fit too early; its accuracy is noisy, and may stop it too late.
    This callback stops by the refinement loss, restores the weights of the best epoch,
    and fits the calibrator.

    After each epoch `data` is predicted, and the log gets `val_refinement_loss` unless
    a metric gives it. The fit of the temperature is exact.

    Args:
        data: held-out `(x, y)`, `(x, y, sample_weight)`, or batches of them: a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a list.
        method: the calibrator, as in `calibrate`.
        patience: number of epochs without an improvement, after which the fit stops.
        min_delta: the least improvement that counts, in nats.
        from_logits: whether the model gives logits, as in `calibrate`.
        ignore_class: integer label whose samples are left out.
        batch_size: samples that are predicted at once, where `data` are arrays.
        backup: a file that keeps the best weights until the fit ends, so that a fit
            which `BackupAndRestore` resumes still knows them.
        verbose: 1 prints the report, 0 nothing.

    Attributes:
        calibrated_model: after `fit`, the model with its calibrator, see `calibrate`.
        report: its `CalibrationReport`.
        best_epoch: the epoch whose weights the model has after `fit`, from 0.

    Raises:
        ValueError: if `data` can be read only once, and in `fit` as `calibrate` does.

    Example:

    >>> from keras_calib.callbacks import RefineThenCalibrate
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 2))
    >>> y = (1.5 * x + rng.gumbel(size=x.shape)).argmax(-1)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> loss = keras_calib.GammaCE(0.0, from_logits=True)
    >>> model.compile(keras.optimizers.Adam(0.1), loss)
    >>> callback = RefineThenCalibrate((x[200:], y[200:]), verbose=0)
    >>> _ = model.fit(x[:200], y[:200], epochs=9, verbose=0, callbacks=[callback])
    >>> callback.calibrated_model.predict(x, verbose=0).shape
    (300, 2)

    Reference:

    - Berta, Holzmüller, Jordan, Bach, "Rethinking Early Stopping: Refine, Then
      Calibrate", 2025.
    """

    def __init__(
        self,
        data: Any,
        method: Method | Calibrator = "temperature",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        from_logits: bool | None = None,
        ignore_class: int | None = None,
        batch_size: int = 256,
        backup: str | os.PathLike[str] | None = None,
        verbose: int = 1,
    ) -> None:
        super().__init__()
        if not isinstance(method, Calibrator):
            one_of("method", method, Method)
        self.data = readable_again(data)
        self.method = method
        self.patience = whole_number("patience", patience)
        self.min_delta = in_range("min_delta", min_delta, 0.0, np.inf)
        self.from_logits = from_logits
        self.ignore_class = label("ignore_class", ignore_class)
        self.batch_size = whole_number("batch_size", batch_size)
        self.backup = unless_none(lambda name, path: Path(path), "backup", backup)
        self.verbose = verbose
        self.calibrated_model: keras.Model | None = None
        self.report: CalibrationReport | None = None
        self._forget()

    def _forget(self) -> None:
        self.best, self.best_epoch = np.inf, 0
        self._weights: list[np.ndarray] | None = None
        self._reader: HeadReader | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forgets another fit, or reads what an interrupted one kept."""
        self._forget()
        if self.backup and self.backup.exists():
            with np.load(self.backup) as kept:
                self.best, self.best_epoch = float(kept["best"]), int(kept["epoch"])
                self._weights = [kept[f"arr_{i}"] for i in range(len(kept) - 2)]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the refinement loss, and keeps the weights if it is the lowest."""
        loss = self._measure()
        if logs is not None:
            logs.setdefault("val_refinement_loss", loss)
        if loss < self.best - self.min_delta:
            self.best, self.best_epoch = loss, epoch
            self._weights = self.model.get_weights()
            self._keep()
        elif epoch - self.best_epoch >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        """Restores the best weights, and calibrates."""
        if self._weights is not None:
            self.model.set_weights(self._weights)
        x, y, weight = self._arrays()
        self.calibrated_model = calibrate(
            self.model,
            x,
            y,
            self.method,
            sample_weight=weight,
            from_logits=self.from_logits,
            ignore_class=self.ignore_class,
            batch_size=self.batch_size,
            verbose=0,
        )
        self.report = self.calibrated_model.layers[-1].report
        if self.verbose:
            print(f"The weights are those of epoch {self.best_epoch + 1}.")
            print(self.report)
        if self.backup:
            self.backup.unlink(missing_ok=True)

    def _arrays(self) -> tuple[Any, Any, Any]:
        """Returns inputs, labels and weights, or batches of them."""
        if isinstance(self.data, tuple):
            x, y, *weight = self.data
            return x, y, weight[0] if weight else None
        return self.data, None, None

    def _measure(self) -> float:
        model = self.model  # on JAX, this brings its weights up to date
        if self._reader is None:
            self._reader = HeadReader(model)
        head = self._reader.read(*batches_of(*self._arrays(), self.batch_size))
        from_logits = head.gives_logits(self.from_logits)
        samples = head.samples(from_logits, self.ignore_class, MIN_PROBABILITY)
        return refinement_loss(samples)

    def _keep(self) -> None:
        if not self.backup or self._weights is None:
            return
        # A fit that is killed while it writes leaves the old file.
        part = self.backup.with_name(f"{self.backup.name}.part")
        with part.open("wb") as file:
            np.savez(file, *self._weights, best=self.best, epoch=self.best_epoch)
        part.replace(self.backup)
