"""Warns or stops when the training loss falls below what noisy labels allow."""

import warnings

import keras
import numpy as np

from keras_calib.arguments import boolean, in_range
from keras_calib.callbacks.logs import Logs

__all__ = ["NoiseFloor"]


class NoiseFloor(keras.callbacks.Callback):
    """Notices that a model memorizes noisy labels, and warns or stops.

    A training loss below `losses.noise_floor(transition)` is lower than that of a model
    which knows every true class. Below it, the model can only be memorizing.

    Args:
        floor: the lowest loss without memorization.
        monitor: the loss in the logs. With regularization, or a loss that is not in
            nats, add a metric such as `NegativeLogLikelihood` and name it here.
        stop: whether to stop the fit. Otherwise it warns once.

    Example:

    >>> import keras_calib
    >>> transition = [[0.8, 0.2], [0.2, 0.8]]
    >>> floor = keras_calib.noise_floor(transition)
    >>> callback = keras_calib.callbacks.NoiseFloor(floor, stop=True)

    Reference:

    - Toner, Storkey, "Label Noise: Correcting the Forward-Correction",
      [arXiv:2307.13100](https://arxiv.org/abs/2307.13100).
    """

    def __init__(
        self, floor: float, monitor: str = "loss", *, stop: bool = False
    ) -> None:
        super().__init__()
        self.floor = in_range("floor", floor, 0.0, np.inf)
        self.monitor = monitor
        self.stop = boolean("stop", stop)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forgets another fit."""
        self._below = False

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compares the loss of the epoch with the floor."""
        if not logs or self.monitor not in logs:
            raise ValueError(
                f"`monitor` must be in the logs, {list(logs or ())}. Received: "
                f"{self.monitor!r}"
            )
        if self._below or logs[self.monitor] >= self.floor:
            return
        self._below = True
        if self.stop:
            self.model.stop_training = True
        else:
            warnings.warn(
                f"NoiseFloor: in epoch {epoch + 1} {self.monitor} is "
                f"{logs[self.monitor]:.4g}, below the floor of {self.floor:.4g}: the "
                "model memorizes noisy labels",
                stacklevel=2,
            )
