"""One rule for configurations: an argument is kept under its own name."""

from __future__ import annotations

import inspect
from typing import Any


class Configurable:
    """Derives `get_config` from the constructor's signature.

    Every argument of `__init__` is an attribute of the same name, as in
    scikit-learn, so a subclass adds an argument and nothing else. An attribute
    with a `config` property (a hyperparameter that moves during `fit`) gives its
    current value.
    """

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments with their current values."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        values = {name: getattr(self, name) for name in names}
        return {name: getattr(v, "config", v) for name, v in values.items()}


def in_range(name: str, value: Any, low: float, high: float) -> float:
    """Returns `value` as a float, or says what was given and what is allowed."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high:
        raise ValueError(
            f"`{name}` must be a number in [{low:g}, {high:g}]. Received: {value!r}"
        )
    return number


def one_of(name: str, value: Any, allowed: tuple) -> Any:
    """Returns `value` if it is allowed, or says what is."""
    if value not in allowed:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, allowed))}. "
            f"Received: {value!r}"
        )
    return value
