"""A number of a loss that changes while the model trains."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from keras_calib._keras import in_symbolic_scope, is_baked_in, numpy_value
from keras_calib.arguments import in_range, saveable
from keras_calib.types import Tensor

__all__ = ["Hyperparameter"]


class Held(ABC):
    """A number that the kernel of a loss may take as an argument."""

    # Whether a transformation may trace it.
    is_traced: bool
    _held: Tensor | None = None

    @abstractmethod
    def given(self) -> Any:
        """Returns the value, a number or a tensor."""

    @contextmanager
    def holding(self, value: Tensor) -> Iterator[None]:
        """Makes `tensor` return the kernel's argument inside a `with` statement."""
        self._held = value
        try:
            yield
        finally:
            self._held = None

    def tensor(self, dtype: str) -> Tensor:
        """Returns the value as a scalar tensor."""
        value = self.given() if self._held is None else self._held
        # TensorFlow casts a Python number by way of float32.
        cast = ops.cast if ops.is_tensor(value) else ops.convert_to_tensor
        return cast(value, dtype)


@saveable
class Hyperparameter(Held, keras.metrics.Metric):
    """A scalar that a compiled training step reads and a callback may change.

    It is a metric, so `metrics=[loss.gamma]` shows it in the progress bar, History
    and TensorBoard, and makes it part of the trainer's state. On JAX a compiled step
    keeps the first value of a hyperparameter that is not part of that state; `assign`
    then warns. Also on JAX, a callback of your own that sets it at every step must
    first read `self.model`, which updates the variables from the trainer's state.

    Args:
        value: the initial value.
        low: the smallest value allowed.
        high: the largest value allowed.
        name: the name in the logs.
        dtype: `"float64"` keeps all digits; any other is float32.

    Raises:
        ValueError: if a value is outside `[low, high]`, here and in `assign`.

    Example:

    >>> gamma = keras_calib.losses.Hyperparameter(0.1, high=1.0, name="gamma")
    >>> gamma.assign(0.3)
    >>> float(gamma)
    0.3
    """

    is_traced = keras.backend.backend() == "jax"

    def __init__(
        self,
        value: float,
        low: float = 0.0,
        high: float = float("inf"),
        name: str = "hyperparameter",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.low, self.high = float(low), float(high)
        self.variable = keras.Variable(
            in_range(name, value, low, high),
            dtype="float64" if self.dtype == "float64" else "float32",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name=name,
        )
        self._baked = False

    def assign(self, value: float) -> None:
        """Sets the value, without retracing a compiled step."""
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

    def given(self) -> Tensor:
        """Returns the value as a tensor."""
        return ops.convert_to_tensor(self.variable)

    def notice_trace(self) -> None:
        """Notes, on JAX, whether the step that is being traced bakes the value in."""
        if keras.backend.backend() == "jax" and not in_symbolic_scope():
            self._baked = is_baked_in(self.variable)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the value does not depend on the data."""

    def reset_state(self) -> None:
        """Does nothing: the value outlives an epoch."""

    def result(self) -> Tensor:
        """Returns the value, copied, because JAX donates the variable's buffer."""
        return ops.add(self.variable, 0.0)

    def __float__(self) -> float:
        value = numpy_value(self.variable)
        if value is None:
            raise ValueError(f"{self.name} has no value inside a compiled step")
        # The shortest text of the stored number: 0.1 comes back as 0.1.
        return float(str(value[()]))

    def __repr__(self) -> str:
        traced = numpy_value(self.variable) is None
        shown = "<traced>" if traced else f"{float(self):g}"
        return f"{type(self).__name__}({self.name}={shown})"

    @property
    def config(self) -> float:
        """The value, as the owner's `get_config` gives it."""
        return float(self)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments with the current value."""
        own = {"value": float(self), "low": self.low, "high": self.high}
        return {**super().get_config(), **own}


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

    def given(self) -> Any:
        """Returns the value, a number or a tensor."""
        return self.value
