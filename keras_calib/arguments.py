"""The arguments of constructors: stated once, checked, kept and shown."""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any, Unpack, get_args, get_origin, get_type_hints

import keras
import numpy as np

# Keras lists the arguments that all losses or metrics share last, in this order.
_SHARED = ("from_logits", "ignore_class", "axis", "reduction", "name", "dtype")

# The sections of a docstring, in order. Entries of the first three are inherited.
_INHERITED = ("Args", "Call arguments", "Raises")
_SECTIONS = (
    "Args",
    "Call arguments",
    "Attributes",
    "Returns",
    "Raises",
    "Warns",
    "Example",
    "Examples",
    "Reference",
    "References",
)
_ABSENT = object()
_TITLE = re.compile(rf"^({'|'.join(_SECTIONS)}):$", re.MULTILINE)


class Suggested(float):
    """A number to start with, for an argument that a class insists on.

    The function form of a loss takes it as its default.
    """


class _WholeSignature:
    """The signature of a class, with the arguments behind each `**kwargs`.

    An instance has none: `inspect.signature(loss)` is that of its `__call__`.
    """

    def __get__(self, instance: Any, owner: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        return signature(owner)


class Configurable:
    """Base of what is made of arguments, each kept under its own name.

    A class states its own arguments and hands on the rest, by
    `def __init__(self, strength=1.0, **kwargs)` and `super().__init__(**kwargs)`.
    Its configuration, signature, docstring and `repr` follow the whole chain of
    constructors. An attribute with a `config` property, such as a hyperparameter
    that moves during `fit`, gives its current value.
    """

    __signature__ = _WholeSignature()
    # The name of an instance, where that is not the class's in snake case.
    default_name: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._written = _sections(vars(cls).get("__doc__"))
        cls.__doc__ = _whole_docstring(cls)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, with their current values."""
        overridden = type(self).get_config is not Configurable.get_config
        config = {}
        for name in signature(type(self)).parameters:
            value = _argument(self, name)
            if value is not _ABSENT:
                config[name] = value
            elif not overridden:
                raise TypeError(
                    f"{type(self).__name__}.__init__ takes {name!r} and keeps no "
                    f"attribute of that name: set self.{name}, or override get_config"
                )
        return config

    def __repr__(self) -> str:
        # The first argument, and whatever differs from its default.
        usual = {"name": default_name(type(self)), "dtype": keras.config.floatx()}
        shown = []
        for name, parameter in signature(type(self)).parameters.items():
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


def default_name(cls: type) -> str:
    """Returns the name of an instance that is given none: `GammaCE` is `gamma_ce`."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", cls.__name__)
    return cls.default_name or re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


@functools.cache
def signature(cls: type) -> inspect.Signature:
    """Returns the arguments of a constructor and of those it hands the rest to."""
    found: dict[str, inspect.Parameter] = {}
    allowed, behind = None, False
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        _, *own = inspect.signature(base.__init__).parameters.values()
        rest = None
        for parameter in own:
            if parameter.kind is parameter.VAR_KEYWORD:
                rest = parameter
            elif allowed is None or parameter.name in allowed:
                found.setdefault(parameter.name, _shown(parameter, behind))
        if rest is None:
            break
        behind = True
        if (names := _named_in(base.__init__, rest)) is not None:
            allowed = names if allowed is None else allowed & names
    last = [found.pop(name) for name in _SHARED if name in found]
    return inspect.Signature(
        sorted([*found.values(), *last], key=lambda parameter: parameter.kind)
    )


def in_range(name: str, value: Any, low: float, high: float) -> float:
    """Returns `value` as a float, or says what was given and what is allowed."""
    if isinstance(value, Suggested):
        raise ValueError(f"`{name}` must be given: start with {value:g}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high:
        raise ValueError(
            f"`{name}` must be a number in [{low:g}, {high:g}]. Received: {value!r}"
        )
    return number


def whole_number(name: str, value: Any, low: float = 1, high: float = np.inf) -> int:
    """Returns `value` as an int, or says what was given and what is allowed."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        span = f" >= {low}" if high == np.inf else f" in [{low}, {high}]"
        raise ValueError(
            f"`{name}` must be a whole number{span if low > -np.inf else ''}. "
            f"Received: {value!r}"
        )
    return int(value)


def one_of(name: str, value: Any, allowed: Any) -> Any:
    """Returns `value` if it is allowed, or says what is.

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
    # A method may have the name of an argument.
    return _ABSENT if inspect.ismethod(value) else getattr(value, "config", value)


def _shown(parameter: inspect.Parameter, behind: bool) -> inspect.Parameter:
    """Returns an argument as a caller sees it; one behind `**kwargs` has no place."""
    if isinstance(parameter.default, Suggested):
        parameter = parameter.replace(default=parameter.empty)
    return parameter.replace(kind=parameter.KEYWORD_ONLY) if behind else parameter


def _named_in(function: Any, rest: inspect.Parameter) -> set[str] | None:
    """Returns the names that `**kwargs: Unpack[Arguments]` allows, `None` for all."""
    hint = rest.annotation
    if isinstance(hint, str):
        try:
            hint = eval(hint, function.__globals__)
        except NameError:  # imported for type checkers only
            return None
    return (
        set(get_type_hints(get_args(hint)[0])) if get_origin(hint) is Unpack else None
    )


def _sections(docstring: str | None) -> dict[str, str]:
    """Returns the text under each title of a docstring; the lead's title is empty."""
    lead, *rest = _TITLE.split(inspect.cleandoc(docstring or ""))
    return {"": lead, **dict(zip(rest[::2], rest[1::2], strict=True))}


def _entries(text: str) -> list[tuple[str, str]]:
    """Returns the entries `name: text` of a section."""
    parts = re.split(r"^    (?=[\w*]+: )", text, flags=re.MULTILINE)
    return [(p.partition(":")[0], f"    {p.rstrip()}\n") for p in parts[1:]]


def _whole_docstring(cls: type) -> str | None:
    """Returns the docstring with the entries that the bases wrote for it."""
    written = [base._written for base in cls.__mro__ if "_written" in vars(base)]
    own = written[0]
    if not any(own.values()):
        return None
    whole = dict(own)
    for title in _INHERITED:
        sections = [_entries(w[title]) for w in written if title in w]
        if not sections:
            continue
        if title == "Raises":
            lines = [entry for section in sections for _, entry in section]
        else:
            known = {k: v for section in reversed(sections) for k, v in section}
            names = signature(cls).parameters if title == "Args" else known
            lines = [known[name] for name in names if name in known]
        whole[title] = "\n" + "".join(dict.fromkeys(lines)) + "\n"
    lead = whole.pop("").rstrip()
    rest = [f"{t}:{whole[t].rstrip()}" for t in _SECTIONS if t in whole]
    return "\n\n".join([lead, *rest]) + "\n"
