"""The examples in docstrings run, and every public object has one and type hints."""

import doctest
import importlib
import inspect
import pkgutil
import re

import keras
import numpy as np
import pytest

import keras_calib
from keras_calib.docstrings import entries, sections
from tests.backends import BACKEND
from tests.exports import ROOMS, exports, top_level

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(keras_calib.__path__, "keras_calib.")
)
writes_a_saved_model = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="only the TensorFlow backend writes a SavedModel"
)
MARKS = {
    "keras_calib.serving.export": writes_a_saved_model,
    "keras_calib.serving.verify": writes_a_saved_model,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, ())) for name in MODULES]
)
def test_examples_run(name):
    module = importlib.import_module(name)
    found = doctest.testmod(
        module,
        extraglobs={"keras": keras, "keras_calib": keras_calib, "np": np},
        optionflags=doctest.NORMALIZE_WHITESPACE,
    )
    assert found.failed == 0
    assert "```python" not in inspect.getsource(module)  # doctest skips such blocks


@pytest.mark.parametrize("name", top_level())
def test_public_objects_have_a_docstring_and_type_hints(name):
    thing = getattr(keras_calib, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing) and thing.__init__ is not object.__init__:
        hints = inspect.get_annotations(thing.__init__)
        arguments = list(inspect.signature(thing.__init__).parameters)[1:]
        assert set(arguments) <= set(hints), f"{name}.__init__ lacks type hints"
        assert "Example" in inspect.getdoc(thing)


def public():
    """Returns the classes and functions that a room exports, by name."""
    things = {name: thing for room in ROOMS for name, thing in exports(room).items()}
    return {n: t for n, t in things.items() if inspect.isclass(t) or callable(t)}


def written():
    """Returns what each of them and each of their bases says itself, by section."""
    things = {
        base
        for thing in public().values()
        for base in getattr(thing, "__mro__", [thing])
    }
    return {
        f"{thing.__module__}.{thing.__name__}": vars(thing).get("_written")
        or sections(thing.__doc__)
        for thing in things
        if thing.__module__.startswith("keras_calib") and thing.__doc__
    }


def lost(parts):
    """Returns the lines that the docstrings of subclasses would lose."""
    found = re.findall(
        r"^([A-Z][a-z]+(?: [a-z]+)?:)\n+    \S", "".join(parts.values()), re.M
    )
    for title in ("Args", "Call arguments", "Attributes", "Raises"):
        lines = parts.get(title, "").splitlines()
        known = [
            line for _, text in entries("\n".join(lines)) for line in text.splitlines()
        ]
        found += [line for line in lines if line and line not in known]
        found += [x for x in known if not re.match(r"    [\w*]+: \S|        \S", x)]
    return found


@pytest.mark.parametrize("name", sorted(written()))
def test_no_line_of_a_section_is_lost(name):
    """Docstrings are inherited entry by entry, and an entry must look like one."""
    assert not lost(written()[name])


def test_a_typo_is_found():
    right = "Title.\n\nArgs:\n    a: what it is,\n        and more.\n    b: another.\n"
    assert not lost(sections(right))
    for old, new in (
        ("    b: a", "    b a"),
        ("    b: a", "     b: a"),
        ("    a: w", "    a:w"),
        ("        and", "    and"),
        ("Args:", "Arg:"),
    ):
        assert lost(sections(right.replace(old, new))), new


@pytest.mark.parametrize("name", sorted(public()))
def test_an_entry_describes_an_argument_and_each_has_one(name):
    thing = public()[name]
    parts = sections(inspect.getdoc(thing))
    if "Args" in parts:
        described = [key.lstrip("*") for key, _ in entries(parts["Args"])]
        assert described == list(inspect.signature(thing).parameters)
    methods = [getattr(thing, n, None) for n in ("call", "__call__", "update_state")]
    called = {key for key, _ in entries(parts.get("Call arguments", ""))}
    assert called <= {
        p for m in filter(None, methods) for p in inspect.signature(m).parameters
    }
