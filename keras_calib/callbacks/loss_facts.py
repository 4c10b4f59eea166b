"""What the loss of a model tells about itself and the predictions it takes."""

import inspect
from typing import Any

import keras

from keras_calib.losses.base import CalibrationLoss, ClassLoss

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


def takes_logits(loss: Any) -> bool | None:
    """Tells whether a loss takes logits; `None` if that is unknown."""
    if loss is None or isinstance(loss, keras.losses.Loss):
        return getattr(loss, "from_logits", None)
    # A function, which keras.losses.get returns for a name.
    parameter = inspect.signature(loss).parameters.get("from_logits")
    return None if parameter is None else parameter.default


def why_unreadable(loss: Any, from_logits: bool | None) -> str:
    """Tells why predictions cannot be read as one label of K, or returns ""."""
    if loss is None:
        return "the model has several losses, or none"
    name = getattr(loss, "__name__", type(loss).__name__)
    ours = isinstance(loss, CalibrationLoss)
    if not isinstance(loss, ClassLoss) if ours else function_of(loss) in _BINARY:
        return f"{name} is not a loss of one label out of K"
    if from_logits is None:
        return f"{name} does not tell whether it takes logits: pass from_logits"
    return ""
