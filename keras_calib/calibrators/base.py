"""The base of the calibrators: fitting, saving and calling them."""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, Self, TypedDict

import keras
import numpy as np
from keras import ops
from keras.backend import is_float_dtype, is_int_dtype

from keras_calib._keras import numpy_value
from keras_calib.arguments import (
    Configurable,
    boolean,
    in_range,
    label,
    unless_none,
)
from keras_calib.calibrators.reading import as_logits, logits_behind
from keras_calib.calibrators.report import CalibrationReport
from keras_calib.calibrators.samples import Samples
from keras_calib.ops.arrays import as_numbers, require_finite, require_samples
from keras_calib.ops.floats import at_least, dtype_name, in_float64
from keras_calib.ops.kinds import kind_of
from keras_calib.ops.looks import are, row_sums
from keras_calib.ops.validation import validate as validate_values
from keras_calib.types import Array, Tensor

__all__ = ["Calibrator"]

# The smallest normal float32: a float32 softmax gives nothing between it and 0.
MIN_PROBABILITY = float(np.finfo("float32").tiny)


class CalibratorArguments(TypedDict, total=False):
    """The arguments that every calibrator takes by keyword."""

    from_logits: bool | None
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
        from_logits: whether `fit` and `call` take logits rather than probabilities. By
            default `fit` decides by the values, and the layer keeps the answer: rows in
            [0, 1] that sum to 1 are probabilities, values of both signs or rows whose
            sums differ are logits. Probabilities p are read as the logits log p. In
            `call`, those that come straight from a Keras softmax or sigmoid are
            replaced by the logits behind them, except on JAX.
        min_probability: the floor: smaller probabilities, and those of logits of
            -inf, are read as this value. An exact zero has no logarithm, and its
            replacement affects the fit. The default is the smallest normal float32,
            which changes nothing else.
        ignore_class: integer label whose samples `fit` leaves out.
        name: name of the layer.
        dtype: `"float64"` computes in float64. Every other dtype, half precision
            included, computes in float32.

    Call arguments:
        inputs: logits or probabilities of shape `(..., K)`, or `(..., 1)` of a
            single sigmoid output.

    Raises:
        ValueError: for a `min_probability` that is not in (0, 0.5]; when it is called
            before it is fitted or loaded; and, outside a compiled step, when it is
            given logits in place of probabilities, or the reverse.
    """

    # Whether the most probable class stays the most probable.
    keeps_argmax = False
    # What `calibrate` found, saved with the layer.
    report: CalibrationReport | None = None

    def __init__(
        self,
        *,
        from_logits: bool | None = None,
        min_probability: float = MIN_PROBABILITY,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        dtype = "float64" if dtype == "float64" else "float32"
        # Autocast would hide the logits behind a softmax in half precision.
        super().__init__(name=name, dtype=dtype, autocast=False)
        self._named_weights: dict[str, keras.Variable] = {}
        self.from_logits = unless_none(boolean, "from_logits", from_logits)
        self.min_probability = in_range(
            "min_probability", min_probability, float(np.finfo("float64").tiny), 0.5
        )
        self.ignore_class = label("ignore_class", ignore_class)
        self.supports_masking = True

    @abstractmethod
    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each weight by its name."""

    @abstractmethod
    def adjust(self, samples: Samples) -> dict[str, Array]:
        """Returns the value of each weight by its name, fitted to the samples."""

    # A subclass names its weights: mypy lets any signature override
    # *args: Any, **weights: Any.
    @abstractmethod
    def transform(self, z: Tensor, *args: Any, **weights: Any) -> Tensor:
        """Returns the calibrated probabilities of logits, of shape (..., K)."""

    def fit(
        self,
        logits: Tensor,
        labels: Tensor,
        sample_weight: Tensor = None,
        *,
        validate: bool = True,
    ) -> Self:
        """Fits the weights to held-out predictions.

        Args:
            logits: logits or probabilities of shape `(..., K)`, or `(..., 1)` of a
                single sigmoid output.
            labels: integers of shape `(...)` or `(..., 1)`, or one-hot or soft
                targets of shape `(..., K)`. For a single sigmoid output, 0 and 1, or
                probabilities.
            sample_weight: weights of shape `(...)` or of its leading axes.
            validate: whether to check all values. Shapes, class labels and weights,
                and that there are at least two samples and two classes, are always
                checked.

        Returns:
            The layer.

        Raises:
            ValueError: for shapes that do not fit, NaN and infinity, labels out of
                range, negative weights, logits in place of probabilities or the
                reverse, and fewer than two samples or classes.
        """
        from_logits = self.from_logits
        if from_logits is None:
            from_logits = _are_logits(logits)
        if boolean("validate", validate):
            validate_values(
                labels,
                logits,
                from_logits=from_logits,
                sample_weight=sample_weight,
                ignore_class=self.ignore_class,
            )
        z, y = as_logits(logits, labels, from_logits, self.min_probability)
        samples = Samples.read(z, y, sample_weight, self.ignore_class)
        self.fit_samples(samples)
        self.from_logits = from_logits
        return self

    def fit_samples(self, samples: Samples) -> Self:
        """Fits the weights to samples that are read and checked."""
        self._require_classes(samples.num_classes)
        with np.errstate(over="ignore"):
            values = {
                name: np.asarray(value, self.dtype)
                for name, value in self.adjust(samples).items()
            }
        for name, value in values.items():
            require_finite(f"The fitted {name!r} of {self.name!r}", value)
        if not self.built:
            self.build((None, samples.num_classes))
        for name, variable in self._named_weights.items():
            variable.assign(np.reshape(values[name], variable.shape))
        self.report = None
        return self

    @in_float64
    def probabilities(self, logits: Array) -> Array:
        """Returns calibrated probabilities, computed in the dtype of the layer.

        Args:
            logits: logits of shape (N, K), K >= 2, even if the calibrator itself takes
                probabilities.

        Raises:
            ValueError: for probabilities, and for other shapes.
        """
        logits = as_numbers("logits", logits)
        if logits.ndim != 2 or logits.shape[-1] < 2:
            raise ValueError(
                "`logits` must have shape (N, K), K >= 2; those of a single output are "
                f"(0, z). Received: shape {logits.shape}"
            )
        self._require_classes(logits.shape[-1])
        if len(logits) > 1 and logits.min() >= 0 and are(1, row_sums(logits)):
            raise ValueError(
                "`logits` are probabilities: call the calibrator on them instead. "
                f"Received: rows that sum to 1, such as {logits[0]}"
            )
        z = ops.convert_to_tensor(logits, self.dtype)
        p = self.transform(z, **self._cast_weights())
        return np.asarray(ops.convert_to_numpy(p))

    @property
    def fitted(self) -> bool:
        """Whether the weights are fitted or loaded.

        Where a trace hides their values, it is `True`; weights that are not fitted give
        NaN there.
        """
        values = [numpy_value(v) for v in self._named_weights.values()]
        unfitted = (v is not None and np.isnan(v).any() for v in values)
        return bool(values) and not any(unfitted)

    @property
    def built(self) -> bool:
        """Whether the weights are made and fitted.

        JAX's `predict` compiles `call`, where no value can be read and nothing can
        raise. But before it compiles, it calls a model once to build a layer that is
        not built, and in that call a calibrator that is not fitted raises.
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

    def get_build_config(self) -> dict[str, Any]:
        """Returns the shape of the inputs, and the report."""
        report = {"report": asdict(self.report)} if self.report else {}
        return {**(super().get_build_config() or {}), **report}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the weights, and reads the report."""
        super().build_from_config(config)
        if "report" in config:
            self.report = CalibrationReport(**config["report"])

    def call(self, inputs: Tensor) -> Tensor:
        """Returns calibrated probabilities of the shape of the inputs."""
        self._require_inputs(inputs)
        if not self.fitted:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} has not been fitted. Call "
                "fit(logits, labels) first, or load its weights"
            )
        p = self.transform(self._logits(inputs), **self._cast_weights())
        return p[..., 1:] if inputs.shape[-1] == 1 else p

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the inputs."""
        return input_shape

    def _require_inputs(self, inputs: Tensor) -> None:
        """Refuses inputs that are not an array of numbers with a class axis."""
        shape = tuple(getattr(inputs, "shape", ()))
        dtype = dtype_name(inputs) if shape else None
        if len(shape) < 2 or not (is_float_dtype(dtype) or is_int_dtype(dtype)):
            raise ValueError(
                "`inputs` must be logits or probabilities of shape (..., K), or "
                f"(..., 1) of a single output. Received: shape {shape}, dtype {dtype}"
            )
        if shape[-1] is not None:
            self._require_classes(shape[-1])

    def _require_classes(self, num_classes: int) -> None:
        """Refuses a number of classes other than that of the weights."""
        made = {k: tuple(v.shape) for k, v in self._named_weights.items()}
        if made and made != self.weight_shapes(max(2, num_classes)):
            raise ValueError(
                f"{self.name!r} has weights for another number of classes, of shapes "
                f"{made}: make a new calibrator. Received: {num_classes} classes"
            )

    def _cast_weights(self) -> dict[str, Tensor]:
        return {k: ops.cast(v, self.dtype) for k, v in self._named_weights.items()}

    def _logits(self, inputs: Tensor) -> Tensor:
        """Returns logits of shape (..., K), K >= 2, inside the graph."""
        from_logits = self._reads_logits(inputs)
        behind = None if from_logits else logits_behind(inputs)
        x = ops.cast(inputs if behind is None else behind, self.dtype)
        one = inputs.shape[-1] == 1
        if not from_logits and behind is None:
            p = ops.concatenate([1.0 - x, x], -1) if one else x
            return ops.log(at_least(p, self.min_probability))
        x = ops.concatenate([ops.zeros_like(x), x], -1) if one else x
        # A logit of -inf masks its class, whose probability is 0.
        # top_k, since max refuses an empty batch.
        least = ops.top_k(x, 1)[0] + math.log(self.min_probability)
        x = ops.where(x == -float("inf"), least, x)
        # log p, as in `fit`: some maps depend on a shift of all logits.
        return x if from_logits else ops.log_softmax(x, axis=-1)

    def _reads_logits(self, inputs: Tensor) -> bool:
        """Says whether inputs are logits; values that are known must agree."""
        x, said = numpy_value(inputs), self.from_logits
        if x is None:
            if said is None and logits_behind(inputs) is None:
                raise ValueError(
                    f"{self.name!r} does not know whether its inputs are logits or "
                    "probabilities: fit it, or pass from_logits"
                )
            return bool(said)
        rows = x.reshape(-1, x.shape[-1]).astype("float32")
        if not rows.size or np.isnan(rows).any():
            return bool(said)
        if said:
            # One row may sum to 1 by chance.
            seen = min(rows.shape) > 1 and rows.min() >= 0
            seen = seen and np.allclose(rows.sum(-1), 1, atol=1e-3)
        else:
            seen = kind_of(inputs) == "logits"
        if said is not None and seen:
            given, taken = ("probabilities", "logits")[:: 1 if said else -1]
            raise ValueError(
                f"{self.name!r} takes {taken}, with from_logits={said}. Received: "
                f"{given}, values from {rows.min():g} to {rows.max():g}"
            )
        return bool(said or seen)


def _are_logits(x: Tensor) -> bool:
    """Says whether `x` are logits, by the rows without NaN: others may weigh 0."""
    rows = as_numbers("y_pred", x)
    require_samples(rows, rows)
    rows = rows.reshape(-1, *rows.shape[-1:])
    nan = np.isnan(rows).any(-1)
    return kind_of(rows[~nan] if nan.any() and not nan.all() else x) == "logits"
