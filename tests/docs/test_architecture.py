"""The page on the architecture has every room, and names what there is."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import keras_calib
from tests.exports import IN_AN_EXTRA
from tests.test_imports import GROUND, ROOMS

PAGE = (Path(__file__).parents[2] / "docs/architecture.md").read_text("utf-8")
# A name, with the class or the room before it or a call after it.
CODE = re.compile(r"`([A-Za-z_]\w+(?:\.[a-z_]\w*)?)(?:\([^`]*\))?`")
ARGUMENTS = {"y_pred", "ignore_class"}
NAMES = sorted(set(CODE.findall(PAGE)) - ARGUMENTS)


def things():
    """Returns the objects of all modules by name."""
    found = dict(vars(keras_calib))
    for module in pkgutil.walk_packages(keras_calib.__path__, "keras_calib."):
        if module.name in IN_AN_EXTRA:
            continue
        found |= vars(importlib.import_module(module.name))
    return found


THINGS = things()
CLASSES = [
    thing
    for thing in THINGS.values()
    if inspect.isclass(thing) and thing.__module__.startswith("keras_calib")
]


@pytest.mark.parametrize("name", [n for n in NAMES if not n.endswith(".py")])
def test_it_names_what_there_is(name):
    first, _, rest = name.partition(".")
    if rest:
        assert hasattr(THINGS[first], rest)
    else:
        assert name in THINGS or any(hasattr(cls, name) for cls in CLASSES)


def test_names_are_found():
    assert {"ClassBatch.loss", "made_by", "serving.export", "statistics"} < set(NAMES)


def test_every_room_has_a_row():
    rows = re.findall(r"^\| `(\w+)(?:\.py|/)`", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(ROOMS | {name: set() for name in GROUND})


def test_it_is_two_screens_long():
    assert len(PAGE.splitlines()) <= 100
