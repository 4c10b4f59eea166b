"""The losses and metrics of a model, with those inside others."""

from typing import Any

import keras


def losses_of(model: keras.Model) -> list[Any]:
    """Returns the model's losses; a `MultiTaskModel` has them inside its own."""
    return [getattr(loss, "loss", loss) for loss in keras.tree.flatten(model.loss)]


def metrics_of(model: keras.Model) -> list[Any]:
    """Returns the model's metrics, each once, and then those inside them."""
    found = list(model.metrics)
    for metric in found:  # which grows
        found += getattr(metric, "metrics", None) or []
    return list(dict.fromkeys(found))
