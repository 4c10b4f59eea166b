"""The base of losses and metrics: how they read a batch."""

from __future__ import annotations

import inspect
import math
from typing import Any

import keras

from keras_calib.arguments import (
    Configurable,
    boolean,
    label,
    whole_number,
)
from keras_calib.ops.batch import Batch
from keras_calib.ops.binary_batch import BinaryBatch
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.token_statistics import TokenBatch, TokenStatistics
from keras_calib.types import Tensor


class Reader(Configurable):
    """Base of losses and metrics, which read batches.

    Args:
        from_logits: whether `y_pred` are logits.
        axis: the axis of the classes in `y_pred`, and in one-hot or soft targets.
    """

    ignore_class: int | None = None

    def __init__(
        self, *, from_logits: bool = False, axis: int = -1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.from_logits = boolean("from_logits", from_logits)
        self.axis = whole_number("axis", axis, -math.inf)

    def reader(self, y_pred: Tensor) -> type[Batch]:
        """Returns the class that reads a batch of these predictions."""
        return ClassBatch

    def read(self, y_true: Tensor, y_pred: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Returns the batch; other arguments are those of `Batch`."""
        reader: type[Batch] = self.reader(y_pred)
        if isinstance(y_pred, TokenStatistics):
            if reader is not ClassBatch:
                raise ValueError(
                    f"{type(self).__name__} does not read one label of K classes, and "
                    "TokenStatistics hold nothing else. Give it probabilities or logits"
                )
            reader = TokenBatch
        return reader(
            y_true,
            y_pred,
            *args,
            from_logits=self.from_logits,
            ignore_class=self.ignore_class,
            axis=self.axis,
            **kwargs,
        )


class IgnoringReader(Reader):
    """Base of losses and metrics that ignore the samples of one label.

    Args:
        ignore_class: integer label whose samples are ignored.
    """

    def __init__(self, *, ignore_class: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_class = label("ignore_class", ignore_class)


_KERAS_BINARY = keras.losses.binary_crossentropy, keras.losses.binary_focal_crossentropy


def function_of(loss: Any) -> Any:
    """Returns the function that a Keras loss wraps, or the loss itself."""
    return getattr(loss, "fn", loss)


def is_binary(loss: Any) -> bool:
    """Says whether a loss, ours or Keras's, reads independent binary labels."""
    if isinstance(loss, Reader):
        return issubclass(loss.reader(None), BinaryBatch)
    return function_of(loss) in _KERAS_BINARY


def reading_of(loss: Any) -> dict[str, Any]:
    """Returns how a loss, ours or Keras's, reads a batch; `None` where it is unknown.

    The arguments are attributes of a loss, and defaults of a function, which
    `keras.losses.get` returns for a name.
    """
    held = dict.fromkeys(("from_logits", "ignore_class")) | {"axis": -1}
    if loss is None or isinstance(loss, keras.losses.Loss):
        return {name: getattr(loss, name, value) for name, value in held.items()}
    parameters = inspect.signature(loss).parameters
    return {
        name: parameters[name].default if name in parameters else value
        for name, value in held.items()
    }
