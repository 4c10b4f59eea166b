"""Annealing gamma, or any hyperparameter of a loss, during `fit`."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, TypeAlias

import keras

from keras_calib._keras import can_be_traced, set_in_state
from keras_calib.arguments import in_range, one_of
from keras_calib.callbacks.linked import linked_hyperparameters
from keras_calib.callbacks.logs import Logs
from keras_calib.callbacks.ramps import Ramp
from keras_calib.losses.schedules import FOREVER, spans_the_run, value_at

__all__ = ["GammaScheduler", "HyperparameterScheduler"]

Schedule: TypeAlias = (
    Ramp | keras.optimizers.schedules.LearningRateSchedule | Callable[[int], float]
)
Unit: TypeAlias = Literal["epoch", "step"]


class HyperparameterScheduler(keras.callbacks.Callback):
    """Sets a hyperparameter of the model's losses from a schedule.

    A schedule is a function of the position in the run, epoch or
    epoch * steps_per_epoch + batch, so `BackupAndRestore` resumes it where it was.
    With `unit="step"`, a `Ramp` or a Keras schedule is evaluated inside the compiled
    step: it costs no time, and with `steps_per_execution` the value changes at each
    step, too. During an epoch the log shows the value of the next step. A function of
    the step is called in Python before each execution, and sets one value for all
    steps of the execution.

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
            loss has a schedule of its own, if the value of an epoch, or of the first
            or last step, is out of its range, or if the schedule needs the number of
            steps in an epoch, which is unknown.
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
        self.schedule: Any = schedule
        self.unit = one_of("unit", unit, Unit)
        is_schedule = isinstance(
            schedule, keras.optimizers.schedules.LearningRateSchedule
        )
        self._in_step = (
            unit == "step"
            and is_schedule
            and can_be_traced(lambda step: value_at(self.schedule, step, step))
        )
        # Keras then runs steps without waiting for the logs of the last.
        self.async_safe = unit == "epoch" or self._in_step

    def set_model(self, model: keras.Model) -> None:
        """Links the model's losses and metrics, before a step is compiled."""
        super().set_model(model)
        self._fitted = model
        self._link()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Resets the count of steps."""
        self._next_step: int | None = None
        self._last_step: int | None = None
        self._is_first_epoch = self._may_link = True

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Sets the value of the epoch, or of its first step."""
        last_epoch, steps = self.params["epochs"] - 1, self.params.get("steps")
        if self.unit == "epoch":
            if self._is_first_epoch:
                for later in (*range(epoch, last_epoch)[:1000], last_epoch):
                    self._value(later, last_epoch)
            self._set(epoch, last=last_epoch)
        elif steps is not None:
            self._first_step = epoch * steps
            self._last_step = last_epoch * steps + steps - 1
            if not self._in_step:
                # The first step of the run's last execution.
                self._last_step -= (steps - 1) % self._fitted.steps_per_execution
            if self._is_first_epoch:
                self._value(self._last_step, self._last_step)
            # Until the epoch ends: its log and validation are at its last step.
            self._start(self._first_step, self._first_step + steps - 1)
        elif epoch == 0 or self._next_step is not None:
            self._first_step, self._last_step = self._next_step or 0, None
            if self._is_first_epoch:
                self._next_step = 0
                self._start(0, FOREVER)
        else:
            raise _unknown_steps(f"Resuming a schedule by steps at epoch {epoch}")
        self._is_first_epoch = False

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Sets the value of the step."""
        if self._may_link and batch and keras.backend.backend() != "jax":
            # The first step made the metrics of a loaded model: set the value there.
            self._may_link = False
            before = self._parameters
            self._link()
            if self._parameters != before and self.unit == "step":
                steps = self.params.get("steps")
                stop = FOREVER if steps is None else self._first_step + steps - 1
                self._start(self._first_step + batch, stop)
        if self.unit == "step" and not self._in_step:
            self._set(self._first_step + batch, last=self._last_step)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Counts the step."""
        if not self.async_safe:
            self._next_step = self._first_step + batch + 1

    def on_train_end(self, logs: Logs = None) -> None:
        """Keeps the last value."""
        for parameter in self._parameters:
            parameter.stop()

    def _link(self) -> None:
        self._parameters = linked_hyperparameters(self.model, self.hyperparameter)
        if not self._in_step:
            return
        # On TensorFlow, each replica must count the same steps.
        strategy = getattr(self._fitted, "distribute_strategy", None)
        with nullcontext() if strategy is None else strategy.scope():
            are_new = [p.follow(self.schedule) for p in self._parameters]
        if any(are_new):
            # A step compiled before does not move the value.
            self._fitted.make_train_function(force=True)

    def _start(self, step: int, stop: int) -> None:
        """Starts the schedule inside the compiled step."""
        if self._in_step:
            self._value(step, self._last_step)
            for parameter in self._parameters:
                last = FOREVER if self._last_step is None else self._last_step
                parameter.start(step, stop, last)

    def _set(self, position: int, last: int | None) -> None:
        value = self._value(position, last)
        for parameter in self._parameters:
            if not set_in_state(self._fitted, parameter.variable, value):
                parameter.assign(value)

    def _value(self, position: int, last: int | None) -> float:
        """Returns the value of the schedule, if every loss allows it."""
        if spans_the_run(self.schedule) and last is None:
            raise _unknown_steps("A schedule over the length of the run")
        value: Any = value_at(self.schedule, position, last)
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
