"""The arguments of constructors: stated once, checked, kept and shown."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar, Unpack, get_args, get_origin, get_type_hints

import keras
import numpy as np

from keras_calib.docstrings import inherited, sections

R = TypeVar("R")

# Keras lists the arguments that all losses or metrics share last, in this order.
_SHARED = ("from_logits", "ignore_class", "axis", "reduction", "name", "dtype")

_ABSENT = object()

# Python's message about an argument that a constructor passes on itself and that
# `**kwargs` holds, too.
_FIXED = re.compile(r"got multiple values for (?:keyword )?argument '(\w+)'")

# Decorates a class or a function that Keras saves and loads by its name.
saveable = keras.saving.register_keras_serializable(package="keras_calib")


class Suggested(float):
    """A value to start with, for an argument that a class requires.

    The function form of a loss takes it as the default.
    """


class WholeSignature:
    """The signature of a class, with the arguments behind each `**kwargs`.

    Without it, tools read the `__new__` of Keras's layers and models, which takes
    anything. An argument whose value is only suggested has no default. An instance has
    no signature of its own: `inspect.signature(loss)` is that of its `__call__`.
    """

    def __get__(self, instance: Any, owner: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        whole = signature(owner)
        shown = [
            p.replace(default=p.empty) if isinstance(p.default, Suggested) else p
            for p in whole.parameters.values()
        ]
        return whole.replace(parameters=shown)


class Configurable:
    """Base of classes that keep each argument in an attribute of its name.

    A class states its own arguments and passes on the rest, by
    `def __init__(self, strength=1.0, **kwargs)` and `super().__init__(**kwargs)`.
    Its configuration, signature, docstring and `repr` follow the whole chain of
    constructors. An attribute with a `config` property, such as a hyperparameter
    that moves during `fit`, gives its current value. Where a method has the name of
    an argument, the attribute has an underscore before it. A class that fixes an
    argument of its base may leave it out of `**kwargs: Unpack[...]`; its signature and
    configuration then do not show it.
    """

    __signature__ = WholeSignature()
    # The default name of an instance, if it is not the class's name in snake case.
    default_name: str | None = None
    # What the class's own docstring says, by section.
    _written: Mapping[str, str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._written = sections(vars(cls).get("__doc__"))
        if any(cls._written.values()):
            bases = [vars(base) for base in cls.__mro__ if "_written" in vars(base)]
            written = [base["_written"] for base in bases]
            cls.__doc__ = inherited(written, signature(cls).parameters)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, with their current values."""
        overridden = type(self).get_config is not Configurable.get_config
        config = {}
        for name in type(self).__signature__.parameters:
            value = _argument(self, name)
            if value is not _ABSENT:
                config[name] = value
            elif not overridden:
                raise TypeError(
                    f"{type(self).__name__}.__init__ takes {name!r} and keeps no "
                    f"attribute of that name: set self.{name}, or override get_config"
                )
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns an instance; arguments that the constructor fixes are left out."""
        try:
            return super().from_config(config)  # type: ignore[misc, no-any-return]
        except TypeError as error:
            fixed = _FIXED.search(str(error))
            if not fixed or fixed[1] not in config:
                raise
        others = dict(config)
        value = others.pop(fixed[1])
        made = cls.from_config(others)
        held: Any = getattr(made, fixed[1], None)
        if hasattr(held, "assign"):  # a hyperparameter, which may have moved
            held.assign(value)
        return made

    def __repr__(self) -> str:
        # The first argument, and whatever differs from its default.
        usual = {"name": default_name(type(self)), "dtype": keras.config.floatx()}
        shown: list[str] = []
        for name, parameter in type(self).__signature__.parameters.items():
            first = not shown and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            try:
                value = _argument(self, name)
            except ValueError:  # a compiled step is being traced
                value = "<traced>"
            if value is _ABSENT:
                continue
            if first or value not in (parameter.default, usual.get(name)):
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def default_name(cls: type[Configurable]) -> str:
    """Returns the default name of an instance: `gamma_ce` for `GammaCE`."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", cls.__name__)
    return cls.default_name or re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def _signature(cls: Any) -> inspect.Signature:
    """Returns the arguments of a constructor, and those behind its `**kwargs`."""
    found: dict[str, inspect.Parameter] = {}
    allowed, behind = None, False
    for base in cls.__mro__:
        constructor: Any = vars(base).get("__init__")
        if constructor is None:
            continue
        _, *own = inspect.signature(constructor).parameters.values()
        rest = None
        for parameter in own:
            if parameter.kind is parameter.VAR_KEYWORD:
                rest = parameter
            elif parameter.kind is parameter.VAR_POSITIONAL:
                continue
            elif allowed is None or parameter.name in allowed:
                # Arguments that `**kwargs` passes on have no position.
                kind = parameter.KEYWORD_ONLY if behind else parameter.kind
                found.setdefault(parameter.name, parameter.replace(kind=kind))
        if rest is None:
            break
        behind = True
        if (names := _named_in(constructor, rest)) is not None:
            allowed = names if allowed is None else allowed & names
    last = [found.pop(name) for name in _SHARED if name in found]
    return inspect.Signature(
        sorted([*found.values(), *last], key=lambda parameter: parameter.kind)
    )


signature: Callable[[Any], inspect.Signature] = functools.cache(_signature)


def in_range(name: str, value: Any, low: float, high: float) -> float:
    """Returns `value` as a float, or raises and says what is allowed."""
    if isinstance(value, Suggested):
        raise ValueError(f"`{name}` must be given: start with {value:g}")
    number = float("nan")
    if not isinstance(value, str | bytes | bool | np.bool_):
        with contextlib.suppress(TypeError, ValueError):
            number = float(value)
    if not low <= number <= high or math.isinf(number):
        span = (
            f"at least {low:g}" if high == np.inf else f"in [{low:.10g}, {high:.10g}]"
        )
        raise ValueError(f"`{name}` must be a number {span}. Received: {value!r}")
    return number


def counted(count: int, noun: str) -> str:
    """Returns a number and its noun: "1 class", "2 classes"."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun}{'es' if noun.endswith('s') else 's'}"


def numbers(name: str, values: Any, low: float, high: float, count: int) -> list[float]:
    """Returns a sequence of `count` numbers as floats, or raises."""
    if np.ndim(values) != 1 or len(values) != count:
        raise ValueError(f"`{name}` must be {count} numbers. Received: {values!r}")
    return [in_range(f"{name}[{i}]", v, low, high) for i, v in enumerate(values)]


def whole_number(name: str, value: Any, low: float = 1, high: float = np.inf) -> int:
    """Returns `value` as an int, or raises and says what is allowed."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        span = f" >= {low}" if high == np.inf else f" in [{low}, {high}]"
        raise ValueError(
            f"`{name}` must be a whole number{span if low > -np.inf else ''}. "
            f"Received: {value!r}"
        )
    return int(value)


def boolean(name: str, value: Any) -> bool:
    """Returns `value` as a bool; strings raise, since bool("False") is True."""
    if not isinstance(value, int | np.integer | np.bool_) or value not in (0, 1):
        raise ValueError(f"`{name}` must be True or False. Received: {value!r}")
    return bool(value)


def label(name: str, value: Any) -> int | None:
    """Returns `value` as an integer label, or `None` for `None`."""
    return unless_none(whole_number, name, value, -np.inf)


def unless_none(
    check: Callable[..., R], name: str, value: Any, *bounds: float
) -> R | None:
    """Returns `check(name, value, *bounds)`, or `None` for `None`."""
    return None if value is None else check(name, value, *bounds)


def one_of(name: str, value: Any, allowed: Any) -> Any:
    """Returns `value` if it is allowed, or raises and says what is.

    Args:
        name: name of the argument.
        value: what was given.
        allowed: a `Literal[...]`, or a collection.
    """
    choices = get_args(allowed) or tuple(allowed)
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}. "
            f"Received: {value!r}"
        )
    return value


def _argument(thing: Configurable, name: str) -> Any:
    """Returns the current value of an argument, `_ABSENT` where none is kept."""
    value = getattr(thing, name, _ABSENT)
    if getattr(value, "__self__", None) is thing:  # a method has the argument's name
        value = getattr(thing, f"_{name}", _ABSENT)
    return getattr(value, "config", value)


def _named_in(function: Any, rest: inspect.Parameter) -> set[str] | None:
    """Returns the names that `**kwargs: Unpack[Arguments]` allows, `None` for all."""
    hint = rest.annotation
    if isinstance(hint, str):
        try:
            hint = eval(hint, function.__globals__)
        except NameError:  # imported for type checkers only
            return None
    if get_origin(hint) is not Unpack:
        return None
    (arguments,) = get_args(hint)
    return set(get_type_hints(get_origin(arguments) or arguments))
