"""The API pages list every public object once."""

import importlib
import re
from pathlib import Path

import pytest

import keras_calib

PAGES = sorted((Path(__file__).parents[2] / "docs" / "api").glob("*.md"))
ROOMS = ("calibrators", "callbacks", "layers", "losses", "metrics", "ops")
ROOMS = ("", *ROOMS, "serving", "viz")
DIRECTIVE = re.compile(
    r"^\.\. (currentmodule|autoclass|autofunction|data):: (\S+)$", re.M
)


def documented():
    for page in PAGES:
        module = None
        for directive, name in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            if directive == "currentmodule":
                module = name
            else:
                yield name if name.startswith("keras_calib.") else f"{module}.{name}"


def find(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


NAMES = list(documented())


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_object_has_its_place(room):
    module = importlib.import_module(f"keras_calib.{room}".rstrip("."))
    shown = {id(find(name)) for name in NAMES}
    for name in module.__all__:
        thing = getattr(module, name)
        is_room = thing is getattr(keras_calib, name, None) and name in ROOMS
        assert is_room or id(thing) in shown, f"{module.__name__}.{name}"


def test_nothing_is_shown_twice():
    assert len(NAMES) == len(set(NAMES)) == len({id(find(name)) for name in NAMES})
