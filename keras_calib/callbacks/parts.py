"""The losses and metrics of a model, with those inside others."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras


def part_of(structure: Any, name: str | None, place: int) -> Any:
    """Returns the losses, labels, predictions or weights of one output."""
    if isinstance(structure, Mapping):
        return structure.get(name or next(iter(structure)))
    return structure[place] if isinstance(structure, list | tuple) else structure


def losses_of(model: keras.Model) -> list[Any]:
    """Returns the model's losses; a `MultiTaskModel` has them inside its own."""
    return [getattr(loss, "loss", loss) for loss in keras.tree.flatten(model.loss)]


def metrics_of(metrics: Iterable[Any]) -> list[Any]:
    """Returns metrics, each once, and then those inside them."""
    found = list(metrics)
    for metric in found:  # the list grows
        found += getattr(metric, "metrics", None) or []
    return list(dict.fromkeys(found))
