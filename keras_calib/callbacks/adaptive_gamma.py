"""Gamma, controlled by the calibration of held-out data."""

import math
import warnings

import keras

from keras_calib.arguments import Configurable, in_range
from keras_calib.callbacks.linked import linked_hyperparameters
from keras_calib.callbacks.logs import Logs, SeesValidation

__all__ = ["AdaptiveGamma"]


class AdaptiveGamma(Configurable, SeesValidation):
    """Changes gamma to reduce the gap between confidence and accuracy.

    After each validation:

    ```
    gamma <- clip(gamma - rate * gap, 0, max_gamma)   if |gap| >= dead_band
    ```

    where gap is mean confidence minus accuracy on held-out data. Gamma-cross-entropy
    sharpens, so an overconfident model needs a smaller gamma and an underconfident
    model a larger one. A model that is overconfident at gamma = 0 stays so; calibrate
    it after training. Epochs without validation do not change gamma, and a gap of NaN
    does not either. The validation labels must be clean: against noisy labels a good
    model looks overconfident. A saved `.keras` model keeps the gamma that was reached;
    `BackupAndRestore`, which saves weights, does not.

    Args:
        rate: change of gamma for a gap of 1, at least 0.
        max_gamma: the largest gamma, in [0, 1].
        dead_band: gaps smaller than this do not change gamma, in [0, 1].
        monitor: the name of the gap in the logs.

    Raises:
        ValueError: if an argument is out of range; in `fit`, if no loss has a gamma,
            or if validation ran without the gap.

    Warns:
        UserWarning: when training ends and no epoch was validated, and for a gap of
            NaN.

    Example:

    >>> from keras_calib.callbacks import AdaptiveGamma
    >>> x, y = np.eye(3), np.arange(3)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    >>> model.set_weights([np.eye(3), np.zeros(3)])
    >>> loss = keras_calib.GammaCE(0.0, from_logits=True)
    >>> gap = keras_calib.CalibrationGap(from_logits=True)
    >>> model.compile("adam", loss=loss, metrics=[gap, loss.gamma])
    >>> history = model.fit(
    ...     x, y, validation_data=(x, y), verbose=0, callbacks=[AdaptiveGamma()]
    ... )
    >>> round(float(loss.gamma), 3)  # always right, with a confidence of 0.58
    0.042
    """

    def __init__(
        self,
        rate: float = 0.1,
        max_gamma: float = 1.0,
        dead_band: float = 0.005,
        monitor: str = "val_calibration_gap",
    ) -> None:
        super().__init__()
        self.rate = in_range("rate", rate, 0.0, float("inf"))
        self.max_gamma = in_range("max_gamma", max_gamma, 0.0, 1.0)
        self.dead_band = in_range("dead_band", dead_band, 0.0, 1.0)
        self.monitor = monitor

    def set_model(self, model: keras.Model) -> None:
        """Links the model's losses and metrics, before a step is compiled."""
        super().set_model(model)
        linked_hyperparameters(model, "gamma")

    def on_train_begin(self, logs: Logs = None) -> None:
        """Notes that no gap has been read yet."""
        self._has_read = False

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Changes gamma for the next epoch, if this one was validated."""
        logs = logs or {}
        if self.monitor not in logs:
            if self._validated:
                raise ValueError(
                    f"AdaptiveGamma reads {self.monitor!r}, which is not among the "
                    f"logs: compile with metrics=[CalibrationGap(...)], or name the "
                    f"gap of an output by `monitor`. Received: {', '.join(logs)}"
                )
            return
        self._has_read = True
        gap = float(logs[self.monitor])
        if math.isnan(gap):
            warnings.warn(f"{self.monitor} is NaN: gamma stays as it is", stacklevel=2)
        if not abs(gap) >= self.dead_band:
            return
        for gamma in linked_hyperparameters(self.model, "gamma"):
            moved = float(gamma) - self.rate * gap
            gamma.assign(min(max(moved, 0.0), self.max_gamma))

    def on_train_end(self, logs: Logs = None) -> None:
        """Warns if no gap was ever read."""
        if not self._has_read:
            warnings.warn(
                f"AdaptiveGamma never read {self.monitor!r}, because no epoch was "
                "validated: pass validation_data to fit",
                stacklevel=2,
            )
