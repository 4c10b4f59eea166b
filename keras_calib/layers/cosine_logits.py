"""The head of a model trained with a margin softmax."""

from typing import Any, TypedDict, Unpack

import keras
from keras import ops

from keras_calib._keras import set_tensor_attr
from keras_calib.arguments import (
    WholeSignature,
    boolean,
    in_range,
    saveable,
    unless_none,
    whole_number,
)
from keras_calib.ops.floats import at_least
from keras_calib.types import Tensor

__all__ = ["CosineLogits"]


class LayerArguments(TypedDict, total=False):
    """The arguments of every Keras layer."""

    trainable: bool
    name: str | None
    dtype: Any


@saveable
class CosineLogits(keras.layers.Layer):
    """Cosines between features and a learned direction for each class.

    Formula, with no bias:

    ```
    y_j = scale * (x . w_j) / (|x| |w_j|)
    ```

    Args:
        units: number of classes, at least 2.
        scale: `None` for the cosines themselves, to use with
            `AdditiveMarginSoftmax(margin, scale)`; or a number, for logits to use
            with `AdditiveMarginSoftmax(margin, scale=None)` and `softmax`.
        learn_scale: whether the scale is a trainable weight.
        min_scale: the smallest scale that training may reach. A small scale caps
            the confidence: among K classes a probability p needs a scale of
            (K - 1) / K * log((K - 1) p / (1 - p)).
        kernel_initializer: initializer of the directions.
        trainable: whether the directions, and a learned scale, are trainable.
        name: name of the layer.
        dtype: as in `keras.layers.Layer`. In mixed precision pass `"float32"`.

    Input shape:
        `(..., features)`.

    Output shape:
        `(..., units)`.

    Raises:
        ValueError: if an argument is out of range, or a learned scale is not given a
            `scale` to start from.

    Example:

    >>> import keras_calib
    >>> layer = keras_calib.layers.CosineLogits(3, scale=30.0, learn_scale=True)
    >>> tuple(layer(keras.ops.ones((2, 4))).shape)
    (2, 3)

    Reference:

    - Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", 2017,
      [arXiv:1704.06369](https://arxiv.org/abs/1704.06369), sections 3.2 and 3.3.
    """

    __signature__ = WholeSignature()

    def __init__(
        self,
        units: int,
        scale: float | None = None,
        learn_scale: bool = False,
        min_scale: float = 1.0,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.units = whole_number("units", units, 2)
        self.min_scale = in_range("min_scale", min_scale, 1e-6, float("inf"))
        if scale is None and learn_scale:
            raise ValueError(
                "`learn_scale` needs an initial `scale`. Received: scale=None"
            )
        self.scale = unless_none(in_range, "scale", scale, self.min_scale, float("inf"))
        self.learn_scale = boolean("learn_scale", learn_scale)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the directions and the scale."""
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            name="kernel",
        )
        if self.learn_scale:
            self.learned_scale = self.add_weight(
                initializer=keras.initializers.Constant(self.scale),
                constraint=lambda s: ops.maximum(s, self.min_scale),
                name="scale",
            )

    def call(self, inputs: Tensor) -> Tensor:
        """Returns cosines or logits."""
        cosines = ops.matmul(_unit(inputs, -1), _unit(self.kernel, 0))
        if self.scale is None:
            return cosines
        scale = self.learned_scale if self.learn_scale else self.scale
        scale = ops.cast(scale, cosines.dtype)
        logits = scale * cosines
        # AdditiveMarginSoftmax(scale=None) multiplies its margin by this.
        set_tensor_attr(logits, "_keras_calib_scale", scale)
        return logits

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns `(..., units)`."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        names = ("units", "scale", "learn_scale", "min_scale")
        own = {name: getattr(self, name) for name in names}
        kernel = keras.initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), **own, "kernel_initializer": kernel}


def _unit(x: Tensor, axis: int) -> Tensor:
    # The maximum under the root keeps a zero vector's gradient finite.
    square = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(at_least(square, 1e-12))
