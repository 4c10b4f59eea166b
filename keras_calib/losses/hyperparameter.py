"""A number of a loss that changes while the model trains."""

import math
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from weakref import WeakValueDictionary

import keras
import numpy as np
from keras import ops

from keras_calib._keras import (
    in_symbolic_scope,
    is_baked_in,
    known_value,
    numpy_value,
)
from keras_calib.arguments import in_range, saveable
from keras_calib.losses.schedules import (
    FOREVER,
    Schedule,
    are_equal,
    spans_the_run,
    value_at,
)
from keras_calib.ops.gradients import Gradients, with_gradient
from keras_calib.types import Tensor

__all__ = ["Hyperparameter"]


class Held(ABC):
    """A number that the kernel of a loss may take as an argument."""

    # Whether a transformation may trace it.
    is_traced: bool
    _held: Tensor | None = None

    @abstractmethod
    def _own(self) -> Any:
        """Returns the value, a number or a tensor."""

    def given(self) -> Any:
        """Returns the value, or the kernel's argument inside a `with` statement."""
        return self._own() if self._held is None else self._held

    @contextmanager
    def holding(self, value: Tensor) -> Iterator[None]:
        """Makes `given` and `tensor` return a kernel's argument."""
        before, self._held = self._held, value
        try:
            yield
        finally:
            self._held = before

    def tensor(self, dtype: str) -> Tensor:
        """Returns the value as a scalar tensor."""
        value = self.given()
        # TensorFlow casts a Python number by way of float32.
        cast = ops.cast if ops.is_tensor(value) else ops.convert_to_tensor
        return cast(value, dtype)


# The hyperparameters with a schedule, by the key in their configuration.
_loaded: WeakValueDictionary[str, Any] = WeakValueDictionary()


@saveable
class Hyperparameter(Held, keras.metrics.Metric):
    """A scalar that a compiled training step reads and a callback may change.

    It is a metric, so `metrics=[loss.gamma]` shows it in the progress bar, History
    and TensorBoard, and makes it part of the trainer's state. On JAX a compiled step
    keeps the first value of a hyperparameter that is not part of that state; `assign`
    then warns. Also on JAX, a callback of your own that sets it at every step must
    first read `self.model`, which updates the variables from the trainer's state.

    A schedule moves it inside the compiled step. After t training steps the value is
    `schedule(t)`: the next step takes it, and so do validation and `evaluate`, where
    it stands still. A step is one that takes the gradient of the loss, so each batch
    counts under gradient accumulation, too. Saved weights include t, and so does
    the configuration. On JAX the hyperparameter must be among the metrics.
    A value outside `[low, high]` makes it, and the loss, NaN.

    Args:
        value: the initial value; or a schedule, a Keras `LearningRateSchedule` or a
            `Ramp` with `steps`, such as `callbacks.linear(0.0, 0.5, steps=10_000)`.
        low: the smallest value allowed.
        high: the largest value allowed.
        name: the name in the logs.
        dtype: `"float64"` keeps all digits; any other is float32.

    Raises:
        ValueError: if a value is outside `[low, high]`, here and in `assign`; in
            `assign`, if it has a schedule; on JAX, in a training step that would not
            see the schedule move.

    Examples:

    >>> gamma = keras_calib.losses.Hyperparameter(0.1, high=1.0, name="gamma")
    >>> gamma.assign(0.3)
    >>> float(gamma)
    0.3

    A schedule:

    >>> decay = keras.optimizers.schedules.PolynomialDecay(0.0, 10_000, 0.5)
    >>> loss = keras_calib.GammaCE(decay, from_logits=True)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    >>> model.compile("adam", loss, metrics=[loss.gamma])
    >>> history = model.fit(np.eye(3), np.arange(3), epochs=4, verbose=0)
    >>> [round(gamma, 5) for gamma in history.history["gamma"]]
    [5e-05, 0.0001, 0.00015, 0.0002]
    """

    is_traced = keras.backend.backend() == "jax"
    # What moves the value inside the step: given by the owner, or by a callback.
    schedule: Any = None
    is_scheduled = False
    # The step, the step at which the value stands still, and the run's last step.
    clock: Any = None

    def __init__(
        self,
        value: float | Schedule,
        low: float = 0.0,
        high: float = float("inf"),
        name: str = "hyperparameter",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.low, self.high = float(low), float(high)
        schedule, step, self._key = _read(name, value)
        self.variable = keras.Variable(
            in_range(name, value, low, high) if schedule is None else 0.0,
            dtype="float64" if self.dtype == "float64" else "float32",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name=name,
        )
        self._baked = self._is_shown = self._is_due = self._is_counted = False
        if schedule is not None:
            self.follow(schedule)
            self.is_scheduled = True
            # Keras's schedules say with `decay_steps` where they end.
            end = getattr(schedule, "decay_steps", getattr(schedule, "steps", 0))
            for known in (0, end, step):
                self.start(int(known))
            if isinstance(value, Mapping):
                _loaded[self._key] = self

    def assign(self, value: float) -> None:
        """Sets the value, without retracing a compiled step."""
        if self.is_scheduled:
            raise ValueError(
                f"`{self.name}` follows {self.schedule!r}: give the loss a number, "
                f"{self.name}=0.1, to set it by hand or by a callback. "
                f"Received: {value!r}"
            )
        if self._baked:
            warnings.warn(
                f"On JAX a step that was compiled without `{self.name}` among the "
                f"metrics keeps {self.name}={float(self):g}: compile the model again, "
                f"with metrics=[loss.{self.name}], or pass the value to a step of your "
                "own in a keras.StatelessScope",
                stacklevel=2,
            )
            self._baked = False
        self.variable.assign(in_range(self.name, value, self.low, self.high))
        self.stop()

    def follow(self, schedule: Schedule) -> bool:
        """Lets a schedule move the value from `start` on.

        Returns whether a training step that is compiled already does not know of it.
        """
        is_new = not are_equal(schedule, self.schedule)
        self.schedule = schedule
        if self.clock is None:
            self.clock = keras.Variable(
                np.zeros(3, int),
                dtype="int",
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
                name=f"{self.name}_clock",
            )
        return is_new

    def start(self, step: int, stop: int = FOREVER, last: int = FOREVER) -> None:
        """Sets the value of a step, and lets it move until `stop`.

        Raises:
            ValueError: if the value is out of range.
        """
        self.clock.assign(np.array([step, stop, last]))
        self.variable.assign(self._scheduled(step, last))
        if math.isnan(float(self)):
            given = float(value_at(self.schedule, step, last))
            try:
                in_range(self.name, given, self.low, self.high)
            except ValueError as error:
                said = f"{error} from the schedule, at step {step}"
                raise ValueError(said) from None

    def stop(self) -> None:
        """Lets the value stand still."""
        if self.clock is not None:
            self.clock.assign(np.zeros(3, int))

    def _own(self) -> Tensor:
        """Returns the value as a tensor."""
        value = ops.convert_to_tensor(self.variable)
        # torch changes a variable in place, even where a graph has kept its tensor.
        return value if self.schedule is None else ops.add(value, 0.0)

    def notice_step(self) -> None:
        """Notes that the loss is called, which a gradient may follow.

        On JAX it notes whether the step that is being traced bakes the value in.
        """
        self._is_due = self._is_counted = False
        if keras.backend.backend() == "jax":
            if not in_symbolic_scope():
                self._baked = is_baked_in(self.variable)
        elif self.schedule is not None and not self._is_shown:
            self._read(self._times())

    def moved_by(self, loss: Tensor) -> Tensor:
        """Returns the loss, NaN if the value is; its gradient counts the step."""
        if self.schedule is None:
            return loss

        def forward(x: Tensor) -> tuple[Tensor, Any]:
            def backward(upstream: Tensor) -> Gradients:
                self._note_gradient()
                return (upstream,)

            return x * 1.0, backward

        is_wrong = ops.isnan(ops.convert_to_tensor(self.variable))
        return with_gradient(forward, loss) * ops.cast(
            ops.where(is_wrong, float("nan"), 1.0), loss.dtype
        )

    def _note_gradient(self) -> None:
        """Makes the step count, once, however many losses share the value.

        A metric counts when its state is updated, after all gradients: other
        gradients, of a user who looks at them, do not count. On TensorFlow and torch
        the gradient itself counts for what is not known to be a metric.
        """
        if keras.backend.backend() == "jax":
            if self.is_scheduled and self._baked:
                raise ValueError(
                    f"On JAX the schedule of `{self.name}` moves only among the "
                    "metrics: compile the model again, with "
                    f"metrics=[loss.{self.name}]; or pass the value to a step of your "
                    "own in a keras.StatelessScope"
                )
        elif not self._is_shown and not self._is_due:
            self._count()
            self._is_counted = True
        self._is_due = True

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Moves the value if the step took a gradient, whatever the data."""
        self._is_shown = True
        if not self._is_due or self.schedule is None:
            return
        self._read(self._times() if self._is_counted else self._count())
        self._is_due = self._is_counted = False

    def reset_state(self) -> None:
        """Does nothing: the value outlives an epoch."""
        self._is_shown = True

    def result(self) -> Tensor:
        """Returns the value, copied, because JAX donates the variable's buffer."""
        return ops.add(self.variable, 0.0)

    def _times(self) -> list[Tensor]:
        clock = ops.convert_to_tensor(self.clock)
        return [clock[i] for i in range(3)]

    def _count(self) -> list[Tensor]:
        _refuse_copies(self.name, self.clock)
        step, stop, last = self._times()
        times = [ops.where(step < stop, step + 1, step), stop, last]
        self.clock.assign(ops.stack(times))
        return times

    def _read(self, times: list[Tensor]) -> None:
        """Sets the value, unless a callback may have set it since the clock stopped."""
        step, stop, last = times
        now = ops.convert_to_tensor(self.variable)
        self.variable.assign(ops.where(stop > 0, self._scheduled(step, last), now))

    def _scheduled(self, step: Any, last: Any) -> Tensor:
        """Returns the value of a step, NaN if it is out of range."""
        value = ops.cast(value_at(self.schedule, step, last), self.variable.dtype)
        nearest = ops.clip(value, self.low, self.high)
        # The rounding of a bound is allowed.
        is_right = ops.abs(value - nearest) <= 1e-6 * ops.abs(nearest)
        return ops.where(is_right, nearest, float("nan"))

    def __float__(self) -> float:
        value = known_value(self.name, self.variable)
        # The shortest text of the stored number: 0.1 comes back as 0.1.
        return float(str(value[()]))

    def __repr__(self) -> str:
        traced = numpy_value(self.variable) is None
        shown = "<traced>" if traced else f"{float(self):g}"
        return f"{type(self).__name__}({self.name}={shown})"

    @property
    def config(self) -> float | dict[str, Any]:
        """What the owner's `get_config` gives: the value, or the schedule and its step.

        `key` tells that a loss and a metric of a compiled model share it.
        """
        if not self.is_scheduled:
            return float(self)
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return _Saved(schedule=schedule, step=self._step(), key=self._key)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments with the current value."""
        own = {"value": self.config, "low": self.low, "high": self.high}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns that of the loss that was loaded with it, or a new one."""
        value = config["value"]
        shared = _loaded.get(value["key"]) if isinstance(value, Mapping) else None
        return shared if isinstance(shared, cls) else cls(**config)

    def save_own_variables(self, store: Any) -> None:
        """Puts the step of a schedule into a file of weights."""
        if self.is_scheduled:
            store["step"] = np.array(self._step())

    def load_own_variables(self, store: Any) -> None:
        """Goes on at the step that a file of weights holds."""
        if self.is_scheduled and "step" in store.keys():
            self.start(int(np.asarray(store["step"])))

    def _step(self) -> int:
        return int(known_value(self.name, self.clock)[0])


class _Saved(dict):  # type: ignore[type-arg]
    """The configuration of a schedule, which shows as what it is."""

    def __repr__(self) -> str:
        return f"<{self['schedule']['class_name']} at step {self['step']}>"


def _read(name: str, value: Any) -> tuple[Schedule | None, int, str]:
    """Returns the schedule that was given or saved, if any, its step and its key."""
    step, key = 0, uuid.uuid4().hex
    if isinstance(value, Mapping):
        step, key = value["step"], value["key"]
        value = keras.saving.deserialize_keras_object(value["schedule"])
    kind = keras.optimizers.schedules.LearningRateSchedule
    if isinstance(value, kind) and not spans_the_run(value):
        return value, step, key
    if not callable(value) or isinstance(value, Hyperparameter):
        return None, step, key
    raise ValueError(
        f"`{name}` must be a number or a schedule by the step: a Keras "
        "LearningRateSchedule, or linear(0.0, 0.5, steps=10_000). For a ramp over the "
        f"run, or a function, use HyperparameterScheduler({name!r}, schedule, 'step'). "
        f"Received: {value!r}"
    )


def _refuse_copies(name: str, variable: Any) -> None:
    """Raises where each replica of a TensorFlow strategy would count for all."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1 and not isinstance(variable.value, tf.distribute.DistributedValues):
        raise ValueError(
            f"A loss with a schedule of `{name}` must be created in the scope of the "
            f"strategy: its {replicas} replicas would each count the steps"
        )


class Constant(Held):
    """A hyperparameter in the function form of a loss.

    Args:
        value: a number; or a tensor, variable or `Hyperparameter`, which may be traced
            and gets a gradient. Its value is not checked.
        low: the smallest value allowed.
        high: the largest value allowed.
        name: the name, for the error.
        dtype: ignored.
    """

    def __init__(
        self, value: Any, low: float, high: float, name: str, dtype: Any = None
    ) -> None:
        value = getattr(value, "variable", value)
        if isinstance(value, keras.Variable):
            value = value.value + 0.0  # read here, outside of the custom gradient
        if ops.is_tensor(value):
            self.value, self.is_traced = value, True
        else:
            self.value, self.is_traced = in_range(name, value, low, high), False

    def _own(self) -> Any:
        """Returns the value, a number or a tensor."""
        return self.value
