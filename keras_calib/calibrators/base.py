"""What every calibrator shares: reading logits or probabilities, and its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self, TypedDict

import keras
import numpy as np
from keras import ops

from keras_calib.arguments import Configurable, in_range, whole_number
from keras_calib.calibrators.samples import Samples, as_logits
from keras_calib.ops.floats import at_least, in_float64

# The smallest normal float32: a float32 softmax gives nothing between it and 0.
MIN_PROBABILITY = float(np.finfo("float32").tiny)


class CalibratorArguments(TypedDict, total=False):
    """The arguments that every calibrator takes by keyword."""

    from_logits: bool
    min_probability: float
    ignore_class: int | None
    name: str | None
    dtype: Any


class Calibrator(Configurable, keras.layers.Layer, ABC):
    """Base of the calibrators. A subclass gives `weight_shapes`, `adjust`, `transform`.

    `fit` reads held-out logits or probabilities and their labels, outside the graph
    and in float64, and sets the weights of the layer. `call` maps logits or
    probabilities to calibrated probabilities, inside any graph.

    A last axis of size 1 is a single sigmoid output: its logit z stands for the
    logits (0, z) of the classes 0 and 1, and the result is the probability of
    class 1.

    Args:
        from_logits: whether `fit` and `call` take logits, or probabilities.
            Probabilities p are read as the logits log p. In `call`, those that come
            straight from a Keras softmax or sigmoid are replaced by the logits
            behind them, except on JAX.
        min_probability: the value that smaller probabilities are read as. An exact
            zero has no logarithm, and the value in its place moves the fit. The
            default is the smallest normal float32, which changes nothing else.
        ignore_class: integer label whose samples have no weight in `fit`.
        name: name of the layer.
        dtype: `"float64"` computes in float64. Every other dtype, half precision
            included, computes in float32.

    Call arguments:
        inputs: logits or probabilities of shape `(..., K)`, or `(..., 1)` of a
            single sigmoid output.

    Raises:
        ValueError: when it is called before it is fitted or loaded.
    """

    # Whether the most probable class stays the most probable.
    keeps_argmax = False

    def __init__(
        self,
        *,
        from_logits: bool = True,
        min_probability: float = MIN_PROBABILITY,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        dtype = "float64" if dtype == "float64" else "float32"
        # No autocast: a softmax in half precision is traced back to its logits.
        super().__init__(name=name, dtype=dtype, autocast=False)
        self._parameters: dict[str, keras.Variable] = {}
        self.from_logits = bool(from_logits)
        self.min_probability = in_range(
            "min_probability", min_probability, float(np.finfo("float64").tiny), 0.5
        )
        self.ignore_class = (
            None
            if ignore_class is None
            else whole_number("ignore_class", ignore_class, low=-np.inf)
        )
        self.supports_masking = True

    @abstractmethod
    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each weight by its name."""

    @abstractmethod
    def adjust(self, samples: Samples) -> dict[str, Any]:
        """Returns the value of each weight by its name, fitted to the samples."""

    @abstractmethod
    def transform(self, z: Any, *args: Any, **weights: Any) -> Any:
        """Returns the calibrated probabilities of logits, of shape (..., K)."""

    def fit(self, logits: Any, labels: Any, sample_weight: Any = None) -> Self:
        """Fits the weights to held-out predictions.

        Args:
            logits: logits of shape `(..., K)`, or probabilities where
                `from_logits=False`.
            labels: integers of shape `(...)` or `(..., 1)`, or one-hot or soft
                targets of shape `(..., K)`; for one sigmoid output 0 and 1, or a
                probability.
            sample_weight: weights of shape `(...)` or of its leading axes.

        Returns:
            The layer.

        Raises:
            ValueError: for shapes that do not fit, NaN and infinity, labels out of
                range, and fewer than two samples or classes.
        """
        logits, labels = as_logits(
            _array(logits), _array(labels), self.from_logits, self.min_probability
        )
        weight = None if sample_weight is None else _array(sample_weight)
        return self.fit_samples(Samples.read(logits, labels, weight, self.ignore_class))

    def fit_samples(self, samples: Samples) -> Self:
        """Fits the weights to samples that have been read already."""
        values = self.adjust(samples)
        if not self.built:
            self.build((None, samples.num_classes))
        for name, variable in self._parameters.items():
            variable.assign(np.reshape(values[name], variable.shape))
        return self

    @in_float64
    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Returns calibrated probabilities outside the graph, in float64.

        Args:
            logits: float64 logits of shape (N, K), K >= 2.
        """
        weights = {k: ops.cast(v, "float64") for k, v in self._parameters.items()}
        z = ops.convert_to_tensor(logits, "float64")
        return ops.convert_to_numpy(self.transform(z, **weights))

    @property
    def fitted(self) -> bool:
        """Whether the weights have been fitted or loaded.

        True in a trace that sees no values: what has not been fitted gives NaN there.
        """
        values = [_value(v) for v in self._parameters.values()]
        unfitted = (v is not None and np.isnan(v).any() for v in values)
        return bool(values) and not any(unfitted)

    @property
    def built(self) -> bool:
        """The same, for Keras.

        Before `predict` Keras calls a model that is not built where values can be
        read, on JAX too, and what has not been fitted raises.
        """
        return self.fitted

    @built.setter
    def built(self, value: bool) -> None:
        """Takes what Keras says of `build`, which fits nothing."""

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Makes the weights, NaN until they are fitted or loaded."""
        if self._parameters:
            return
        num_classes = max(2, input_shape[-1])
        self._parameters = {
            name: self.add_weight(
                shape=shape,
                initializer=keras.initializers.Constant(float("nan")),
                trainable=False,
                autocast=False,
                name=name,
            )
            for name, shape in self.weight_shapes(num_classes).items()
        }
        self._build_shapes_dict = {"input_shape": (None, num_classes)}

    def call(self, inputs: Any) -> Any:
        """Returns calibrated probabilities of the shape of the inputs."""
        if not self.fitted:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} has not been fitted. Call "
                "fit(logits, labels) first, or load its weights"
            )
        z = self._logits(inputs)
        weights = {k: ops.cast(v, self.dtype) for k, v in self._parameters.items()}
        p = self.transform(z, **weights)
        return p[..., 1:] if inputs.shape[-1] == 1 else p

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the inputs."""
        return input_shape

    def _logits(self, inputs: Any) -> Any:
        """Returns logits of shape (..., K), K >= 2, inside the graph."""
        traced = None if self.from_logits else getattr(inputs, "_keras_logits", None)
        x = ops.cast(inputs if traced is None else traced, self.dtype)
        one = inputs.shape[-1] == 1
        if self.from_logits or traced is not None:
            x = ops.concatenate([ops.zeros_like(x), x], -1) if one else x
            # log p, as without the trace: some maps see a shift of all logits.
            return x if traced is None else ops.log_softmax(x, axis=-1)
        p = ops.concatenate([1.0 - x, x], -1) if one else x
        return ops.log(at_least(p, self.min_probability))


def _array(x: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x) if ops.is_tensor(x) else x)


def _value(variable: keras.Variable) -> np.ndarray | None:
    """Returns the value of a variable, `None` where a trace has put a stand-in."""
    value, backend = variable.value, keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.init_scope():  # out of a graph that is traced, but for a replica's
            # A tensor first: a variable of several replicas is no array.
            value = tf.convert_to_tensor(value)
        traced = tf.is_symbolic_tensor(value)
    elif backend == "jax":
        import jax

        traced = isinstance(value, jax.core.Tracer)
    else:
        traced = value.is_meta
    return None if traced else np.asarray(ops.convert_to_numpy(value))
