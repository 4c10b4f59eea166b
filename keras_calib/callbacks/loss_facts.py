"""What kind a loss is, and how it reads predictions."""

import inspect
from typing import Any

import keras

from keras_calib.losses.base import BinaryLoss, CalibrationLoss, ClassLoss

_CLASSES = (
    keras.losses.categorical_crossentropy,
    keras.losses.categorical_focal_crossentropy,
    keras.losses.sparse_categorical_crossentropy,
)
_BINARY = (
    keras.losses.binary_crossentropy,
    keras.losses.binary_focal_crossentropy,
)


def only_loss(model: keras.Model) -> Any:
    """Returns the model's loss, or `None` if it has several or none."""
    given = [loss for loss in keras.tree.flatten(model.loss) if loss is not None]
    return keras.losses.get(given[0]) if len(given) == 1 else None


def function_of(loss: Any) -> Any:
    """Returns the function that a loss of Keras's wraps, or the loss itself."""
    return getattr(loss, "fn", loss)


def is_binary(loss: Any) -> bool:
    """Says whether a loss reads independent binary labels."""
    return isinstance(loss, BinaryLoss) or function_of(loss) in _BINARY


def is_of_classes(loss: Any) -> bool:
    """Says whether a loss reads one label out of K."""
    return isinstance(loss, ClassLoss) or function_of(loss) in _CLASSES


def said(loss: Any, name: str, default: Any = None) -> Any:
    """Returns an argument of a loss, by its attribute or its function's signature."""
    if loss is None or isinstance(loss, keras.losses.Loss):
        return getattr(loss, name, default)
    # A function, which keras.losses.get returns for a name.
    parameter = inspect.signature(loss).parameters.get(name)
    return default if parameter is None else parameter.default


def reading(loss: Any, from_logits: bool | None = None) -> dict[str, Any]:
    """Returns how a loss reads predictions; `from_logits` is `None` if unknown."""
    if from_logits is None:
        from_logits = said(loss, "from_logits")
    return {
        "from_logits": from_logits,
        "ignore_class": said(loss, "ignore_class"),
        "axis": said(loss, "axis", -1),
    }


def why_unreadable(loss: Any, from_logits: bool | None) -> str:
    """Returns why predictions cannot be read as one label out of K, or ""."""
    if loss is None:
        return "the model has several losses, or none"
    name = getattr(loss, "__name__", type(loss).__name__)
    ours = isinstance(loss, CalibrationLoss)
    if not isinstance(loss, ClassLoss) if ours else is_binary(loss):
        return f"{name} is not a loss of one label out of K"
    if from_logits is None:
        return f"{name} does not say whether it takes logits: pass from_logits"
    return ""
