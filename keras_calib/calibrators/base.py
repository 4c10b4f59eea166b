"""The base of the calibrators: what they read, what they keep, how they are called."""

from abc import ABC, abstractmethod
from typing import Any, Self, TypedDict

import keras
import numpy as np
from keras import ops

from keras_calib._keras import logits_behind, numpy_value
from keras_calib.arguments import Configurable, in_range, whole_number
from keras_calib.calibrators.reading import as_logits, to_numpy
from keras_calib.calibrators.samples import Samples
from keras_calib.ops.floats import at_least, in_float64
from keras_calib.types import Array, Tensor

__all__ = ["Calibrator"]

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
        ignore_class: integer label whose samples `fit` leaves out.
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
        # Autocast would hide the logits behind a softmax in half precision.
        super().__init__(name=name, dtype=dtype, autocast=False)
        self._named_weights: dict[str, keras.Variable] = {}
        self.from_logits = bool(from_logits)
        self.min_probability = in_range(
            "min_probability", min_probability, float(np.finfo("float64").tiny), 0.5
        )
        if ignore_class is not None:
            ignore_class = whole_number("ignore_class", ignore_class, low=-np.inf)
        self.ignore_class = ignore_class
        self.supports_masking = True

    @abstractmethod
    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each weight by its name."""

    @abstractmethod
    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Returns the value of each weight by its name, fitted to the samples."""

    # A subclass names its weights: mypy takes *args: Any, **weights: Any for anything.
    @abstractmethod
    def transform(self, z: Tensor, *args: Any, **weights: Any) -> Tensor:
        """Returns the calibrated probabilities of logits, of shape (..., K)."""

    def fit(self, logits: Tensor, labels: Tensor, sample_weight: Tensor = None) -> Self:
        """Fits the weights to held-out predictions.

        Args:
            logits: logits of shape `(..., K)`, or probabilities where
                `from_logits=False`.
            labels: integers of shape `(...)` or `(..., 1)`, or one-hot or soft
                targets of shape `(..., K)`. For a single sigmoid output 0 and 1, or
                probabilities.
            sample_weight: weights of shape `(...)` or of its leading axes.

        Returns:
            The layer.

        Raises:
            ValueError: for shapes that do not fit, NaN and infinity, labels out of
                range, and fewer than two samples or classes.
        """
        z, y = as_logits(logits, labels, self.from_logits, self.min_probability)
        return self.fit_samples(Samples.read(z, y, sample_weight, self.ignore_class))

    def fit_samples(self, samples: Samples) -> Self:
        """Fits the weights to samples that are read and checked."""
        values = self.adjust(samples)
        if not self.built:
            self.build((None, samples.num_classes))
        for name, variable in self._named_weights.items():
            variable.assign(np.reshape(values[name], variable.shape))
        return self

    @in_float64
    def probabilities(self, logits: Array) -> Array:
        """Returns calibrated probabilities outside the graph, in float64.

        Args:
            logits: float64 logits of shape (N, K), K >= 2.
        """
        z = ops.convert_to_tensor(logits, "float64")
        return to_numpy(self.transform(z, **self._cast_weights("float64")))

    @property
    def fitted(self) -> bool:
        """Whether the weights are fitted or loaded.

        Where a trace hides their values the answer is yes. Weights that are not
        fitted give NaN there.
        """
        values = [numpy_value(v) for v in self._named_weights.values()]
        unfitted = (v is not None and np.isnan(v).any() for v in values)
        return bool(values) and not any(unfitted)

    @property
    def built(self) -> bool:
        """Whether the weights are made and fitted.

        JAX's `predict` compiles `call`, where no value can be read and nothing can
        raise. But it first calls a model with a layer that is not built outside the
        compiled step, and there a calibrator that is not fitted raises.
        """
        return self._built and self.fitted

    @built.setter
    def built(self, value: bool) -> None:
        self._built = value

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Makes the weights, which are NaN until they are fitted or loaded."""
        if self._named_weights:
            return
        self._named_weights = {
            name: self.add_weight(
                shape=shape,
                initializer=keras.initializers.Constant(float("nan")),
                trainable=False,
                autocast=False,
                name=name,
            )
            for name, shape in self.weight_shapes(max(2, input_shape[-1])).items()
        }

    def call(self, inputs: Tensor) -> Tensor:
        """Returns calibrated probabilities of the shape of the inputs."""
        if not self.fitted:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} has not been fitted. Call "
                "fit(logits, labels) first, or load its weights"
            )
        p = self.transform(self._logits(inputs), **self._cast_weights(self.dtype))
        return p[..., 1:] if inputs.shape[-1] == 1 else p

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the inputs."""
        return input_shape

    def _cast_weights(self, dtype: str) -> dict[str, Tensor]:
        return {name: ops.cast(v, dtype) for name, v in self._named_weights.items()}

    def _logits(self, inputs: Tensor) -> Tensor:
        """Returns logits of shape (..., K), K >= 2, inside the graph."""
        behind = None if self.from_logits else logits_behind(inputs)
        x = ops.cast(inputs if behind is None else behind, self.dtype)
        one = inputs.shape[-1] == 1
        if self.from_logits or behind is not None:
            x = ops.concatenate([ops.zeros_like(x), x], -1) if one else x
            # As log p in `fit`: some maps depend on a shift of all logits.
            return x if behind is None else ops.log_softmax(x, axis=-1)
        p = ops.concatenate([1.0 - x, x], -1) if one else x
        return ops.log(at_least(p, self.min_probability))
