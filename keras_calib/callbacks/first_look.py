"""Labels, predictions and gamma, before the first step."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_calib.callbacks.verdicts import Verdict, not_checked, ok, warning
from keras_calib.losses.base import ClassLoss
from keras_calib.losses.gamma import GammaCE
from keras_calib.losses.gamma_choice import starting_weight
from keras_calib.ops import check
from keras_calib.types import Tensor


def of_data(
    model: keras.Model,
    loss: ClassLoss,
    reading: dict[str, Any],
    data: Iterable[tuple[Tensor, ...]],
) -> dict[str, Verdict]:
    """Checks the labels, and gamma against the predictions that the model makes."""
    of_loss = dict(reading)
    if isinstance(loss, GammaCE):
        of_loss |= {"gamma": float(loss.gamma), "floor": loss.floor}
    warned: list[str] = []
    for x, y, *_ in data:
        y_pred = model(x, training=False)
        try:
            warned += _heard(check, y, y_pred, binary=False, **of_loss)[1]
        except ValueError as error:
            return {"labels": warning(str(error))}
    kind = "logits" if reading["from_logits"] else "probabilities"
    num_classes = y_pred.shape[reading["axis"]]
    text = f"the labels are of {num_classes} classes, the predictions {kind}"
    found = {"labels": ok(text)}
    if "gamma" in of_loss:
        text = f"at gamma = {of_loss['gamma']:g} the samples keep their weight"
        found["gamma"] = _unless(warned, text)
    return found


def of_gamma(model: keras.Model, loss: GammaCE) -> Verdict:
    """Checks gamma for a model that gives each of K classes a probability of 1/K."""
    num_classes = (getattr(model, "output_shape", None) or (None,))[-1]
    if not isinstance(num_classes, int):
        return not_checked("without held-out data the number of classes is unknown")
    gamma = float(loss.gamma)
    weight, warned = _heard(starting_weight, gamma, num_classes, loss.floor)
    return _unless(warned, f"at p = 1/{num_classes} a sample has weight {weight:.2g}")


def _heard(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Returns a function's result, and the texts of its warnings, unshown."""
    with warnings.catch_warnings(record=True, action="always") as raised:
        result = function(*args, **kwargs)
    return result, [str(w.message) for w in raised if w.category is UserWarning]


def _unless(warned: list[str], text: str) -> Verdict:
    return warning(warned[0]) if warned else ok(text)
