"""The signatures of a served model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib._keras import made_by, tensorflow as tf
from keras_calib.activations import softmax
from keras_calib.arguments import boolean
from keras_calib.ops.floats import tiny
from keras_calib.serving.examples import features
from keras_calib.serving.names import distinct_names, input_names
from keras_calib.types import Tensor


class Signatures:
    """The signatures of a classifier, as functions that TensorFlow can trace.

    Args:
        model: a functional or Sequential model with one output, of shape
            `(batch, ..., K)`, or `(batch, 1)` for two classes.
        class_names: K distinct names; by default "0", "1", ...
        from_logits: whether the model outputs logits.

    Attributes:
        specs: a `tf.TensorSpec` for each input, with its name in the signatures;
            floats of less than 32 bits are served in float32.
        class_names: the names.

    Raises:
        ValueError: if the inputs or the output of the model do not fit, or if there
            are not K distinct names; in `logits`, if the output is that of a softmax
            or sigmoid although `from_logits=True`, or of a softmax of one unit.
    """

    def __init__(
        self,
        model: keras.Model,
        class_names: Sequence[str] | None = None,
        from_logits: bool = False,
    ) -> None:
        self.model = model
        self.from_logits = boolean("from_logits", from_logits)
        output = _only_output(model)
        self.class_names = distinct_names(class_names, max(output.shape[-1], 2))
        self.specs = [
            tf.TensorSpec(x.shape, _served_dtype(x.dtype), name)
            for x, name in zip(model.inputs, input_names(model.inputs), strict=True)
        ]
        # Classify and regress return one row of classes for each example.
        self._features = features(self.specs) if len(output.shape) == 2 else None

    def functions(self) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
        """Returns each signature's function and the specs of its arguments."""
        found = {
            "serving_default": (self.serving_default, self.specs),
            "logits": (self.logits, self.specs),
        }
        if self._features is not None:
            examples = [tf.TensorSpec((None,), tf.string, "inputs")]
            found["classify"] = self.classify, examples
            found["regress"] = self.regress, examples
        return found

    def output(self, *inputs: Tensor) -> Tensor:
        """Returns the output of the model itself, at inference."""
        model = self.model
        # A server does not check requests against the shapes of a signature, and a
        # wrong rank makes some kernels crash the process.
        tensors = [
            tf.cast(tf.ensure_shape(x, i.shape), i.dtype)
            for x, i in zip(inputs, model.inputs, strict=True)
        ]
        form = keras.tree.pack_sequence_as(self.form, tensors)
        return keras.tree.flatten(model(form, training=False))[0]

    @property
    def form(self) -> Any:
        """The model's symbolic inputs: one, or the structure that it takes."""
        model = self.model
        return model.inputs[0] if isinstance(model, keras.Sequential) else model.input

    def serving_default(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Returns probabilities `(batch, ..., K)`, confidence, label and entropy."""
        p = self._probabilities(*inputs)
        # Other runtimes cannot read the op that argmax becomes.
        top, label = ops.top_k(p, 1)
        return {
            "probabilities": p,
            "confidence": ops.squeeze(top, -1),
            "label": ops.cast(ops.squeeze(label, -1), "int64"),
            "entropy": -ops.sum(p * _log(p), axis=-1),
        }

    def logits(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Returns the logits behind the model's softmax, or log p without one."""
        output = self.output(*inputs)
        made, behind = made_by(output)
        if made and self.from_logits:
            raise ValueError(
                f"`model` outputs probabilities of a {made.pop()}, and "
                "from_logits=True: use from_logits=False, or a head without it"
            )
        if made == {"softmax"} and output.shape[-1] == 1:
            raise ValueError(
                "`model` has one output unit, whose softmax is 1 whatever its input: "
                "use a sigmoid. Received: a softmax of shape (batch, ..., 1)"
            )
        # Two sigmoids may sum to 1, but they are not the softmax of their logits.
        one = "sigmoid" if output.shape[-1] == 1 else "softmax"
        z = output if self.from_logits else behind if one in made else None
        if z is None:
            return {"logits": _log(self._probabilities(*inputs))}
        return {"logits": _two_columns(ops.cast(z, "float32"), from_logits=True)}

    def classify(self, examples: Tensor) -> dict[str, Tensor]:
        """Returns the names of all classes, the likeliest first, with their scores."""
        p = self._of_examples(examples)
        scores, index = ops.top_k(p, p.shape[-1])
        return {"classes": tf.gather(self.class_names, index), "scores": scores}

    def regress(self, examples: Tensor) -> dict[str, Tensor]:
        """Returns the confidence."""
        return {"outputs": ops.max(self._of_examples(examples), axis=-1)}

    def _probabilities(self, *inputs: Tensor) -> Tensor:
        output = ops.cast(self.output(*inputs), "float32")
        output = _two_columns(output, self.from_logits)
        return ops.softmax(output, axis=-1) if self.from_logits else output

    def _of_examples(self, examples: Tensor) -> Tensor:
        parsed = tf.io.parse_example(examples, self._features)
        inputs = [tf.cast(parsed[spec.name], spec.dtype) for spec in self.specs]
        return self._probabilities(*inputs)


def probabilities(output: np.ndarray, from_logits: bool) -> np.ndarray:
    """Returns the probabilities of a model's output, as `Signatures` serves them.

    It computes them in numpy and float64, so that the two can be compared.
    """
    p: np.ndarray = _two_columns(np.asarray(output, "float64"), from_logits, np)
    return softmax(p) if from_logits else p


def _two_columns(output: Tensor, from_logits: bool, namespace: Any = ops) -> Tensor:
    """Adds the column of class 0 if there is only that of class 1."""
    if output.shape[-1] > 1:
        return output
    other = namespace.zeros_like(output) if from_logits else 1.0 - output
    return namespace.concatenate([other, output], axis=-1)


def _log(p: Tensor) -> Tensor:
    return ops.log(ops.maximum(p, tiny(p)))


def _served_dtype(dtype: Any) -> Any:
    dtype = tf.as_dtype(dtype)
    return tf.float32 if dtype.is_floating and dtype.size < 4 else dtype


def _only_output(model: keras.Model) -> Any:
    inputs, outputs = (getattr(model, name, None) for name in ("inputs", "outputs"))
    if not inputs or not outputs:
        raise ValueError(
            "`model` must have inputs, as functional and Sequential models do. "
            "Wrap it: x = keras.Input(shape); keras.Model(x, model(x)). "
            f"Received: {model!r}"
        )
    if len(outputs) > 1:
        raise ValueError(
            f"`model` must have one output. Received: {len(outputs)} outputs"
        )
    shape = outputs[0].shape
    if any(x.shape[0] is not None for x in inputs) or (
        len(shape) < 2 or shape[0] is not None or shape[-1] is None
    ):
        raise ValueError(
            "`model` must take (batch, ...) and output (batch, ..., classes), with a "
            "free batch axis. Received: inputs of shape "
            f"{', '.join(str(x.shape) for x in inputs)}, output of shape {shape}"
        )
    return outputs[0]
