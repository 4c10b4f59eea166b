"""The examples in docstrings run, and every public object has one and type hints."""

import doctest
import importlib.util
import inspect
import pkgutil
import re

import keras
import numpy as np
import pytest

import keras_calib
from keras_calib.arguments import Configurable
from keras_calib.docstrings import entries, sections
from tests.backends import BACKEND
from tests.exports import IN_AN_EXTRA, ROOMS, exports, top_level

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(keras_calib.__path__, "keras_calib.")
)
writes_a_saved_model = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="only the TensorFlow backend writes a SavedModel"
)
MARKS = {
    "keras_calib.callbacks.reliability_diagram_logger": pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None,
        reason="TensorFlow writes the event files",
    ),
    "keras_calib.serving.export": writes_a_saved_model,
    "keras_calib.serving.verify": writes_a_saved_model,
} | {
    name: pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason="tested by make test-beam"
    )
    for name, package in IN_AN_EXTRA.items()
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, ())) for name in MODULES]
)
def test_examples_run(name):
    module = importlib.import_module(name)
    if {"tf", "tensorflow"} & set(vars(module)):
        pytest.importorskip("tensorflow")  # doctest looks into it
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
    """Yields the classes and functions that the rooms export."""
    for room in ROOMS:
        yield from filter(callable, exports(room).values())


def written():
    """Yields what each of them and each of their bases says itself, by section."""
    for thing in {base for t in public() for base in getattr(t, "__mro__", [t])}:
        if thing.__module__.startswith("keras_calib"):
            own = vars(thing).get("_written") or sections(thing.__doc__)
            yield thing.__qualname__, own


def lost(parts):
    """Returns the titles and lines of a docstring that no subclass would inherit."""
    title = r"^([A-Z][a-z]+(?: [a-z]+)?:)\n+    \S"
    found = re.findall(title, "".join(parts.values()), re.MULTILINE)
    for title in ("Args", "Call arguments", "Attributes", "Raises"):
        text = parts.get(title, "")
        lines = "".join(entry for _, entry in entries(text)).splitlines()
        found += [x for x in text.splitlines() if x and x not in lines]
        found += [x for x in lines if not re.match(r"    ([\w*]+: |    )\S", x)]
    return found


def test_every_line_of_a_section_is_part_of_an_entry():
    """Docstrings are inherited entry by entry."""
    wrong = {name: lines for name, parts in written() if (lines := lost(parts))}
    assert not wrong


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


def test_each_argument_has_an_entry_and_each_entry_an_argument():
    for thing in public():
        parts = sections(inspect.getdoc(thing))
        if "Args" in parts or Configurable in getattr(thing, "__mro__", ()):
            described = [key.lstrip("*") for key, _ in entries(parts.get("Args", ""))]
            assert described == list(inspect.signature(thing).parameters), thing
        methods = (getattr(thing, n, len) for n in ("call", "__call__", "update_state"))
        called = {name for m in methods for name in inspect.signature(m).parameters}
        named = {name for name, _ in entries(parts.get("Call arguments", ""))}
        assert named <= called, thing
