"""The hyperparameters of a model's losses."""

from typing import Any

import keras

from keras_calib.callbacks.parts import losses_of, metrics_of
from keras_calib.losses.hyperparameter import Hyperparameter


def linked_hyperparameters(model: keras.Model, name: str) -> list[Hyperparameter]:
    """Returns every hyperparameter `name` of the model that must change.

    `load_model` and `clone_model` make two objects, one in the loss and one among
    the metrics, where there was one. They are paired here by name and order: the metric
    gets the value of the loss, and takes its place. On JAX only the metric is part of
    the state of the compiled step.

    Args:
        model: a compiled model.
        name: name of the hyperparameter, such as `"gamma"`.

    Raises:
        ValueError: if no loss has it, or one has a schedule for it; on JAX also if it
            is not in `compile(metrics=[...])`, because the step would keep its first
            value.
    """
    losses = [loss for loss in losses_of(model) if name in hyperparameters(loss)]
    if not losses:
        others = {k: None for loss in losses_of(model) for k in hyperparameters(loss)}
        raise ValueError(
            f"No loss of the model has a hyperparameter {name!r}; they have "
            f"{', '.join(map(repr, others)) or 'none'}. Compile with one that has, "
            f"such as loss=GammaCE(0.1). Received: loss={model.loss!r}"
        )
    if any(getattr(loss, name).is_scheduled for loss in losses):
        raise ValueError(
            f"A loss has a schedule of its own for {name!r}, and a callback that "
            f"changes it, too: give the loss a number. Received: loss={model.loss!r}"
        )
    held = [getattr(loss, name) for loss in losses]
    every = [m for m in metrics_of(model.metrics) if isinstance(m, Hyperparameter)]
    shown = [m for m in every if m.name == name]
    copies = [m for m in shown if m not in held]
    unshown = [loss for loss in losses if getattr(loss, name) not in shown]
    if keras.backend.backend() == "jax" and len(copies) < len(unshown):
        raise ValueError(
            f"On JAX a compiled step sees `{name}` change only if it is among the "
            f"metrics: model.compile(loss=loss, metrics=[loss.{name}])"
        )
    pairs = list(zip(unshown, copies, strict=False))
    for loss, copy in pairs:
        copy.assign(float(getattr(loss, name)))
        setattr(loss, name, copy)
    if pairs:
        # A step compiled before reads the old hyperparameter.
        model.make_train_function(force=True)
        model.make_test_function(force=True)
    return [getattr(loss, name) for loss in losses]


def hyperparameters(loss: Any) -> dict[str, Hyperparameter]:
    """Returns what a callback may change of a loss, by name."""
    return getattr(loss, "hyperparameters", {})
