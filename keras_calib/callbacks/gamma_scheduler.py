"""Annealing gamma, or any hyperparameter of a loss, during `fit`."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import keras

from keras_calib.arguments import in_range, one_of
from keras_calib.callbacks.linked import linked_hyperparameters
from keras_calib.callbacks.logs import Logs
from keras_calib.callbacks.ramps import Ramp

__all__ = ["GammaScheduler", "HyperparameterScheduler"]

Schedule: TypeAlias = (
    Ramp | keras.optimizers.schedules.LearningRateSchedule | Callable[[int], float]
)
Unit: TypeAlias = Literal["epoch", "step"]


class HyperparameterScheduler(keras.callbacks.Callback):
    """Sets a hyperparameter of the model's losses from a schedule.

    A schedule is a function of the position in the run, epoch or
    epoch * steps_per_epoch + batch, so `BackupAndRestore` resumes it where it was.
    With `steps_per_execution` the value is set once for each execution.

    Args:
        hyperparameter: the name of the loss's attribute, such as `"gamma"`.
        schedule: a `Ramp` (`linear`, `cosine`, `exponential`) over the length of the
            run, a Keras `LearningRateSchedule`, or a function of the epoch or step,
            counted from 0.
        unit: `"epoch"` or `"step"`: how often the value is set, and what the
            schedule is a function of.

    Raises:
        ValueError: if the unit is unknown or the schedule cannot be called; in
            `fit`, before the first step, if no loss has the hyperparameter, if the
            value of an epoch, or of the first or last step, is out of its range, or if
            the schedule needs the number of steps in an epoch, which is unknown.
    """

    def __init__(
        self, hyperparameter: str, schedule: Schedule, unit: Unit = "epoch"
    ) -> None:
        super().__init__()
        if not callable(schedule):
            raise ValueError(
                "`schedule` must be linear(...), cosine(...), exponential(...), a "
                f"Keras LearningRateSchedule or a function of the {unit}. "
                f"Received: {schedule!r}"
            )
        self.hyperparameter = hyperparameter
        self.schedule = schedule
        self.unit = one_of("unit", unit, Unit)

    def set_model(self, model: keras.Model) -> None:
        """Links the model's losses and metrics, before a step is compiled."""
        super().set_model(model)
        self._link()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Resets the count of steps."""
        self._next_step = None
        self._in_first_step = True

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Sets the value of the epoch."""
        last_epoch, steps = self.params["epochs"] - 1, self.params.get("steps")
        if self.unit == "epoch":
            if self._in_first_step:
                for later in (*range(epoch, last_epoch)[:1000], last_epoch):
                    self._value(later, last_epoch)
            self._set(epoch, last=last_epoch)
        elif steps is not None:
            self._first_step = epoch * steps
            # The first step of the run's last execution.
            per_execution = self.model.steps_per_execution
            in_epoch = (steps - 1) // per_execution * per_execution
            self._last_step = last_epoch * steps + in_epoch
            if self._in_first_step:
                self._value(self._last_step, self._last_step)
        elif epoch == 0 or self._next_step is not None:
            self._first_step, self._last_step = self._next_step or 0, None
        else:
            raise _unknown_steps(f"Resuming a schedule by steps at epoch {epoch}")

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Sets the value of the step."""
        if self.unit == "step":
            self._set(self._first_step + batch, last=self._last_step)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Counts the step."""
        if self._in_first_step:
            # The first step made the metrics of a loaded model: set the value there.
            self._link()
            self._in_first_step = False
        if self.unit == "step":
            self._next_step = self._first_step + batch + 1

    def _link(self) -> None:
        self._parameters = linked_hyperparameters(self.model, self.hyperparameter)

    def _set(self, position: int, last: int | None) -> None:
        value = self._value(position, last)
        _ = self.model  # on JAX brings the trainer's state back into the variables
        for parameter in self._parameters:
            parameter.assign(value)

    def _value(self, position: int, last: int | None) -> float:
        """Returns the value of the schedule, if every loss allows it."""
        value: Any
        if not isinstance(self.schedule, Ramp):
            value = self.schedule(position)
        elif last is None:
            raise _unknown_steps("A schedule over the length of the run")
        else:
            value = self.schedule(position / last if last else 1.0)
        try:
            for parameter in self._parameters:
                in_range(self.hyperparameter, value, parameter.low, parameter.high)
        except ValueError as error:
            raise ValueError(
                f"{error} from the schedule, at {self.unit} {position}"
            ) from error
        return float(value)


class GammaScheduler(HyperparameterScheduler):
    """Anneals the gamma of the model's losses during `fit`, without retracing.

    Args:
        schedule: as in `HyperparameterScheduler`.
        unit: `"epoch"` or `"step"`.

    Raises:
        ValueError: as `HyperparameterScheduler`.

    Example:

    >>> from keras_calib.callbacks import GammaScheduler, linear
    >>> x, y = np.eye(3), np.arange(3)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    >>> loss = keras_calib.GammaCE(0.0, from_logits=True)
    >>> model.compile("adam", loss=loss, metrics=["accuracy", loss.gamma])
    >>> scheduler = GammaScheduler(linear(0.0, 0.5))
    >>> history = model.fit(x, y, epochs=3, verbose=0, callbacks=[scheduler])
    >>> history.history["gamma"]
    [0.0, 0.25, 0.5]

    Monitor a metric that does not depend on gamma (accuracy, NLL, Brier score): the
    `val_loss` at one gamma cannot be compared with that at another.
    """

    def __init__(self, schedule: Schedule, unit: Unit = "epoch") -> None:
        super().__init__("gamma", schedule, unit)


def _unknown_steps(what: str) -> ValueError:
    return ValueError(
        f"{what} needs the number of steps in an epoch: pass steps_per_epoch to fit, "
        "or use unit='epoch'"
    )
