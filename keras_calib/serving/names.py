"""Names of inputs and classes, as clients of a server write them."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

# Default names: their numbers change between processes, and when a model is loaded.
_UNNAMED = re.compile("^(keras_tensor|input_layer)(_[0-9]+)?$")
_SERVED = re.compile("(?!self$)[A-Za-z][A-Za-z0-9_]*")
# A client gets UTF-8, and numpy drops zeros at the end of a text.
_TEXT = re.compile("[^\0\ud800-\udfff]*")


def input_names(inputs: list[Any]) -> list[str]:
    """Returns the names of a model's inputs.

    An input without a name is `input`, or `input_2` if it is the second of several.

    Raises:
        ValueError: if a signature cannot hold the names.

    Example:

    >>> import keras
    >>> from keras_calib.serving.names import input_names
    >>> input_names([keras.Input((4,)), keras.Input((2,), name="size")])
    ['input_1', 'size']
    """
    several = len(inputs) > 1
    names = [
        _UNNAMED.sub(f"input_{k}" if several else "input", x.name)
        for k, x in enumerate(inputs, 1)
    ]
    served = [n for n in names if _SERVED.fullmatch(n) and not keyword.iskeyword(n)]
    if len({name.lower() for name in served}) != len(inputs):
        raise ValueError(
            "The names of inputs must start with a letter, consist of letters, digits "
            "and underscores, not be Python keywords, and differ in more than case, "
            f'as in keras.Input(shape, name="image"). Received: {names}'
        )
    return names


def distinct_names(names: Sequence[str] | None, num_classes: int) -> list[str]:
    """Returns the names of the classes, by default "0", "1", ...

    Raises:
        ValueError: if they are not distinct text, one for each class.

    Example:

    >>> from keras_calib.serving.names import distinct_names
    >>> distinct_names(None, 3)
    ['0', '1', '2']
    """
    if names is None:
        return [str(k) for k in range(num_classes)]
    given = names.tolist() if isinstance(names, np.ndarray) else names
    found = list(given) if isinstance(given, list | tuple) else []
    text = [str(n) for n in found if isinstance(n, str) and _TEXT.fullmatch(n)]
    if not len(found) == len(set(text)) == num_classes:
        raise ValueError(
            f"`class_names` must be {num_classes} distinct names, a list of strings "
            f"such as [str(name) for name in names]. Received: {names!r}"
        )
    return text
