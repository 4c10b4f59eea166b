"""What kind a loss is, and how it reads predictions."""

from typing import Any

import keras

from keras_calib.losses.base import CalibrationLoss, ClassLoss
from keras_calib.ops.reader import function_of, is_binary, reading_of

_CLASSES = (
    keras.losses.categorical_crossentropy,
    keras.losses.categorical_focal_crossentropy,
    keras.losses.sparse_categorical_crossentropy,
)


def only_loss(model: keras.Model) -> Any:
    """Returns the model's loss, or `None` if it has several or none."""
    given = [loss for loss in keras.tree.flatten(model.loss) if loss is not None]
    return keras.losses.get(given[0]) if len(given) == 1 else None


def is_of_classes(loss: Any) -> bool:
    """Says whether a loss reads one label out of K."""
    return isinstance(loss, ClassLoss) or function_of(loss) in _CLASSES


def reading(loss: Any, from_logits: bool | None = None) -> dict[str, Any]:
    """Returns how a loss reads predictions; `from_logits` is `None` if unknown."""
    given = {} if from_logits is None else {"from_logits": from_logits}
    return reading_of(loss) | given


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
