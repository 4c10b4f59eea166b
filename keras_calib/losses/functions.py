"""The function form of a loss, made from its class."""

import inspect
from collections.abc import Callable, Collection
from typing import Any, Concatenate, ParamSpec

from keras_calib.arguments import Suggested, default_name, saveable, signature
from keras_calib.docstrings import entries, joined, section, sections
from keras_calib.losses.base import CalibrationLoss
from keras_calib.ops.arrays import require_call
from keras_calib.ops.floats import as_tensor, dtype_name
from keras_calib.types import Tensor

P = ParamSpec("P")

_TENSORS = ("y_true", "y_pred")

# Arguments that only a class needs: a function returns one loss for each sample. Type
# checkers let them pass, because no argument can be taken out of a `ParamSpec`.
_OF_CLASSES = {"reduction", "name", "dtype"}


def function_of(
    loss: Callable[P, CalibrationLoss], without: Collection[str] = ()
) -> Callable[Concatenate[Tensor, Tensor, P], Tensor]:
    """Returns the function form of a loss class, as Keras has one for each loss.

    It takes labels, predictions and the arguments of the class, and returns one loss
    a sample, float64 for float64 predictions, else float32. It makes no variable, so
    that it may be called inside a compiled step.

    Args:
        loss: the class.
        without: arguments that only the class has.
    """
    cls: Any = loss

    class Stateless(cls):
        _stateless = True

    whole = _signature(cls, _OF_CLASSES.union(without))

    def function(*args: Any, **kwargs: Any) -> Tensor:
        bound = whole.bind(*args, **kwargs)
        bound.apply_defaults()
        given = {name: bound.arguments.pop(name) for name in _TENSORS}
        tensors = [as_tensor(x) for x in require_call(**given)[:2]]
        dtype = "float64" if dtype_name(tensors[1]) == "float64" else "float32"
        return Stateless(**bound.arguments, dtype=dtype).call(*tensors)

    function.__name__ = function.__qualname__ = default_name(cls)
    function.__module__ = cls.__module__
    function.__signature__ = whole  # type: ignore[attr-defined]
    function.__doc__ = _docstring(cls, whole)
    return saveable(function)  # type: ignore[no-any-return]


def _signature(cls: Any, without: Collection[str]) -> inspect.Signature:
    """Returns the labels, the predictions and the arguments of the class."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in _TENSORS]
    for name, parameter in signature(cls).parameters.items():
        if isinstance(parameter.default, Suggested):
            parameter = parameter.replace(default=float(parameter.default))
        if name not in without:
            parameters.append(parameter)
    return inspect.Signature(parameters)


def _docstring(cls: Any, whole: inspect.Signature) -> str:
    """Returns the docstring of the function, made from that of the class."""
    parts = sections(cls.__doc__)
    arguments = entries(parts["Call arguments"]) + entries(parts["Args"])
    parts[""] += f"This is the function form of `{cls.__name__}`."
    parts["Args"] = section(arguments, whole.parameters)
    ignored = ", 0 where it is ignored" if "ignore_class" in whole.parameters else ""
    parts["Returns"] = (
        f"\n    The loss of each sample{ignored}.\n"
        "    It is float64 for float64 predictions, else float32."
    )
    for title in ("Call arguments", "Attributes", "Example", "Examples"):
        parts.pop(title, None)
    return joined(parts)
