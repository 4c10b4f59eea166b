"""A model that trains through its last layer without storing all of the logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self

import keras
from keras import ops

from keras_calib._keras import get_keras_mask, made_in, set_keras_mask
from keras_calib.arguments import WholeSignature, saveable, unless_none, whole_number
from keras_calib.losses.hyperparameter import Hyperparameter
from keras_calib.losses.linear import linear_loss, loss_of_logits
from keras_calib.metrics.accuracy import Accuracy
from keras_calib.metrics.base import CalibrationMetric
from keras_calib.metrics.collection import CalibrationMetrics
from keras_calib.ops.token_statistics import TokenStatistics
from keras_calib.types import Tensor

__all__ = ["FusedHeadModel"]


@dataclass
class Step:
    """A training or test step of a model, of one replica.

    Attributes:
        model: the model that takes the step.
        seen: the statistics of the logits that the loss computed, for the metrics.
    """

    model: keras.Model
    seen: TokenStatistics | None = None


# The replicas of a strategy take their steps in turn, each in its own thread.
_step: ContextVar[Step | None] = ContextVar("step", default=None)


@saveable
class FusedHeadModel(keras.Model):
    """Trains and evaluates a model without storing the logits of all samples at once.

    It takes a model with one output, logits over K classes, and shares its weights. In
    `fit` and `evaluate` the last layer and the loss run together, chunk by chunk, by
    `losses.linear_loss`, and metrics read the `ops.TokenStatistics` that it returns.
    Everything else works as in any Keras model: `compile`, callbacks, mixed precision,
    gradient accumulation, saving. `predict` and a call give logits, and so does the
    original model, which generates text as before.

    The last layer is a `Dense` or an `EinsumDense` without an activation, or a
    `ReversibleEmbedding` called with `reverse=True`, as in the causal language models
    of KerasHub, whose table may be shared with the input embedding. Its soft cap is
    applied.

    The loss is one of `keras_calib.losses` for one label of K classes, with
    `from_logits=True`, or Keras's `SparseCategoricalCrossentropy`; labels are integers.
    Metrics are those of `keras_calib` that take `ops.TokenStatistics`, and
    hyperparameters. The name `"accuracy"` stands for `metrics.Accuracy`.

    Args:
        model: a functional or sequential model that has been built.
        chunk_size: the largest number of samples in a chunk, see `linear_loss`.
        name: name of the model.

    Raises:
        ValueError: for a model whose last layer cannot be separated; in `compile` for a
            metric that is not of this package, and for loss weights; at the first step
            for a metric that needs the logits, such as `ClasswiseECE`.

    Example:

    >>> import keras_calib
    >>> tokens = keras.Input((None,), dtype="int32")
    >>> hidden = keras.layers.Embedding(50, 8)(tokens)
    >>> model = keras.Model(tokens, keras.layers.Dense(50)(hidden))
    >>> fused = keras_calib.FusedHeadModel(model)
    >>> loss = keras_calib.GammaCE(1e-3, from_logits=True)
    >>> perplexity = keras_calib.Perplexity(from_logits=True)
    >>> fused.compile("adam", loss, metrics=["accuracy", perplexity, loss.gamma])
    >>> x = np.arange(60).reshape(6, 10) % 50
    >>> history = fused.fit(x[:, :-1], x[:, 1:], verbose=0)
    >>> list(history.history)
    ['accuracy', 'gamma', 'loss', 'perplexity']
    >>> fused.predict(x, verbose=0).shape
    (6, 10, 50)
    """

    __signature__ = WholeSignature()

    def __init__(
        self,
        model: keras.Model,
        chunk_size: int | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.chunk_size = unless_none(whole_number, "chunk_size", chunk_size)
        self.model = model
        self._last = LastLayer.of(model)
        self._reads: set[str] = set()  # the token statistics that metrics read
        self.built = True  # because the model is

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        """Returns the logits; in `fit` and `evaluate`, the input of the last layer."""
        model = self._last.body if self._step else self.model
        return model(inputs, training=training)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Compiles the model; see the class for losses and metrics."""
        if loss_weights is not None:
            raise ValueError(
                "A FusedHeadModel has one loss. "
                f"Received: loss_weights={loss_weights!r}"
            )
        if loss is not None:
            loss_of_logits(loss)  # raises here rather than at the first step
        metrics, weighted = (_metrics(m, loss) for m in (metrics, weighted_metrics))
        if given := [*(metrics or ()), *(weighted or ())]:
            read = [getattr(metric, "reads", ()) for metric in given]
            self._reads = {name for names in read for name in names}
        super().compile(
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            weighted_metrics=weighted,
            **kwargs,
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model as the saved model was compiled."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    @property
    def _step(self) -> Step | None:
        step = _step.get()
        return step if step is not None and step.model is self else None

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        token = _step.set(Step(self))
        try:
            yield
        finally:
            _step.reset(token)

    def train_step(self, *data: Any) -> Any:
        """Takes a step; see `keras.Model`."""
        with self._stepping():
            return super().train_step(*data)

    def test_step(self, *data: Any) -> Any:
        """Evaluates a batch; see `keras.Model`."""
        with self._stepping():
            return super().test_step(*data)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Returns the loss of hidden states in a step, else that of logits."""
        step = self._step
        if step is None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        value, step.seen = linear_loss(
            self.loss,
            y,
            sample_weight=sample_weight,
            chunk_size=self.chunk_size,
            return_statistics=self._reads,
            **self._last.arguments(y_pred),
        )
        # Losses that layers have added, such as penalties on weights.
        return sum(map(ops.sum, self.losses), value)

    def compute_loss_and_updates(self, *args: Any, **kwargs: Any) -> Any:
        """Does the same on JAX, where statistics must leave the gradient function."""
        loss, (unscaled, y_pred, *rest) = super().compute_loss_and_updates(
            *args, **kwargs
        )
        if (step := self._step) is not None:
            y_pred, step.seen = step.seen, None
        return loss, (unscaled, y_pred, *rest)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        """Updates the metrics, in a step from the statistics of the loss."""
        step = self._step
        if step is not None and not isinstance(y_pred, TokenStatistics):
            y_pred, step.seen = step.seen, None
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Returns the model, the chunk size and the name."""
        return {
            "model": keras.saving.serialize_keras_object(self.model),
            "chunk_size": self.chunk_size,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Returns the model that `get_config` described."""
        model = keras.saving.deserialize_keras_object(
            config["model"], custom_objects=custom_objects
        )
        return cls(**{**config, "model": model})


@dataclass(frozen=True)
class LastLayer:
    """The last layer of a model, and the model before it.

    Attributes:
        body: a model with the same inputs that gives the input of the last layer.
        layer: the last layer.
        kernel: the name of its kernel.
        transpose: whether that has shape (K, D).
        dtype: the dtype in which it computes.
    """

    body: keras.Model
    layer: keras.Layer
    kernel: str
    transpose: bool
    dtype: str

    @classmethod
    def of(cls, model: keras.Model) -> LastLayer:
        """Separates the last layer of a model."""
        outputs = getattr(model, "outputs", None) or []
        if len(outputs) != 1:
            raise ValueError(
                "`model` must be a functional or sequential model that is built, with "
                f"one output. Received: {model!r} with outputs {outputs}"
            )
        layer, hidden, how = made_in(outputs[0])
        kernel, transpose = _kernel_of(layer, hidden, how)
        if getattr(layer, "quantization_mode", None):
            raise ValueError(
                f"The last layer is quantized, and cannot be trained. Received: {layer}"
            )
        dtype = getattr(layer, "reverse_dtype", None) or layer.compute_dtype
        sequential = isinstance(model, keras.Sequential)
        inputs = model.inputs if sequential else model.input
        return cls(keras.Model(inputs, hidden), layer, kernel, transpose, dtype)

    def arguments(self, hidden: Tensor) -> dict[str, Any]:
        """Returns the arguments of `linear_loss`: the layer's weights and input."""
        mask = get_keras_mask(hidden)
        hidden = ops.cast(hidden, self.dtype)
        if mask is not None:
            set_keras_mask(hidden, mask)
        return {
            "hidden": hidden,
            "kernel": getattr(self.layer, self.kernel),
            "bias": getattr(self.layer, "bias", None),
            "transpose": self.transpose,
            "logit_soft_cap": getattr(self.layer, "logit_soft_cap", None),
        }


def _kernel_of(layer: Any, hidden: Tensor, how: dict[str, Any]) -> tuple[str, bool]:
    """Returns the name of a layer's kernel, and whether it is transposed."""
    linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
    # A subclass with its own `call` may compute something other than h W + b.
    if _calls_as(layer, keras.layers.Dense) and linear:
        return "kernel", False
    flat_bias = len(getattr(getattr(layer, "bias", None), "shape", ())) < 2
    if _calls_as(layer, keras.layers.EinsumDense) and linear and flat_bias:
        given, _, out = layer.equation.partition("->")
        x, _, w = given.replace("...", "").partition(",")
        out = out.replace("...", "")
        if len(w) == 2 and x[:-1] == out[:-1] and {x[-1], out[-1]} == set(w):
            return "kernel", w[0] == out[-1]
    if isinstance(layer, keras.layers.Embedding) and how.get("reverse"):
        tied = layer.tie_weights
        return ("embeddings", True) if tied else ("reverse_embeddings", False)
    ends = "" if linear else f" with activation {layer.activation.__name__!r}"
    raise ValueError(
        "The last layer must be a Dense or an EinsumDense that maps the last axis, "
        "without an activation, with one bias per class and without its own `call`, "
        f"or a ReversibleEmbedding with reverse=True. Received: {layer!r}{ends}"
    )


def _calls_as(layer: keras.Layer, kind: type[keras.Layer]) -> bool:
    return isinstance(layer, kind) and type(layer).call is kind.call


def _metrics(metrics: Any, loss: Any) -> Any:
    """Returns metrics that take statistics, with ours for the names of Keras's."""
    if metrics is None:
        return None
    if not isinstance(metrics, list | tuple):
        metrics = [metrics]
    ignored = getattr(loss, "ignore_class", None)
    made = []
    for metric in metrics:
        if metric in ("accuracy", "acc", "sparse_categorical_accuracy"):
            metric = Accuracy(from_logits=True, ignore_class=ignored, name=metric)
        if not isinstance(
            metric, CalibrationMetric | CalibrationMetrics | Hyperparameter
        ):
            raise ValueError(
                "The metrics of a FusedHeadModel read token statistics, not logits: "
                "use 'accuracy' and the metrics of keras_calib, such as Perplexity and "
                f"ExpectedCalibrationError. Received: {metric!r}"
            )
        made.append(metric)
    return made
