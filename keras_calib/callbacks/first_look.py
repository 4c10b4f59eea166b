"""Labels, predictions and gamma, before the first step."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from keras_calib.callbacks.loss_facts import gamma_arguments
from keras_calib.callbacks.verdicts import Verdict, verdict
from keras_calib.losses.base import ClassLoss
from keras_calib.losses.gamma_choice import starting_weight
from keras_calib.ops import check
from keras_calib.types import Tensor


def of_data(
    model: keras.Model,
    loss: ClassLoss,
    from_logits: bool,
    data: Iterable[tuple[Tensor, ...]],
) -> dict[str, Verdict]:
    """Checks the labels, and gamma against the predictions that the model makes."""
    gamma: dict[str, Any] = gamma_arguments(loss)
    ignored, warned = getattr(loss, "ignore_class", None), list[str]()
    for x, y, *_ in data:
        y_pred = model(x, training=False)
        try:
            with _caught(warned):
                check(y, y_pred, from_logits, ignore_class=ignored, **gamma)
        except ValueError as error:
            return {"labels": verdict("warning", str(error))}
    kind = "logits" if from_logits else "probabilities"
    text = f"the labels are of {y_pred.shape[-1]} classes, the predictions {kind}"
    found = {"labels": verdict("ok", text)}
    if gamma:
        text = f"at gamma = {gamma['gamma']:g} the samples keep their weight"
        found["gamma"] = _unless(warned, text)
    return found


def of_gamma(model: keras.Model, loss: ClassLoss) -> Verdict:
    """Checks gamma for a model that gives each of K classes a probability of 1/K."""
    num_classes = (getattr(model, "output_shape", None) or (None,))[-1]
    if not isinstance(num_classes, int):
        text = "without held-out data the number of classes is unknown"
        return verdict("not checked", text)
    warned: list[str] = []
    with _caught(warned):
        weight = starting_weight(**gamma_arguments(loss), num_classes=num_classes)
    return _unless(warned, f"at p = 1/{num_classes} a sample weighs {weight:.2g}")


@contextlib.contextmanager
def _caught(texts: list[str]) -> Iterator[None]:
    """Adds the texts of the warnings raised inside, and shows none of them."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        yield
    texts += [str(w.message) for w in raised if w.category is UserWarning]


def _unless(warned: list[str], text: str) -> Verdict:
    return verdict("warning", warned[0]) if warned else verdict("ok", text)
