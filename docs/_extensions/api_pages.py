"""Lists on the API pages what the files of a room export.

On a page of `api/`, a line `{{ keras_calib.losses }}` stands for every file of that
room but those that have such a line of their own.
"""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import keras

import keras_calib

PLACE = re.compile(r"^\{\{ (\S+) \}\}$", re.MULTILINE)
_KERAS = keras.losses.Loss, keras.metrics.Metric, keras.Layer, keras.callbacks.Callback


def places(folder):
    """Returns the modules that have a line of their own."""
    pages = Path(folder).glob("*.md")
    return {name for page in pages for name in PLACE.findall(page.read_text("utf-8"))}


def files(name, others):
    """Returns the files of a room, or the file itself, that export something."""
    module = importlib.import_module(name)
    names = [name]
    if hasattr(module, "__path__"):
        found = sorted(
            f"{name}.{m.name}" for m in pkgutil.iter_modules(module.__path__)
        )
        names = [file for file in found if file not in others]
    modules = [importlib.import_module(file) for file in names]
    return [module for module in modules if hasattr(module, "__all__")]


def path_of(module, name):
    """Returns the shortest path of an object."""
    if not callable(getattr(module, name)):
        return f"{module.__name__}.{name}"
    if hasattr(keras_calib, name):
        return f"keras_calib.{name}"
    alone = module.__package__ == "keras_calib"  # a file that is in no room
    return f"{module.__name__ if alone else module.__package__}.{name}"


def directive(module, name):
    """Returns the line that documents an object under its shortest path."""
    thing, path = getattr(module, name), path_of(module, name)
    if not callable(thing):
        return f".. autodata:: {path}\n   :no-value:\n"
    if not inspect.isclass(thing):
        return f".. autofunction:: {path}\n"
    base = thing.__doc__.startswith("Base of")
    members = base or not issubclass(thing, (*_KERAS, tuple))
    return f".. autoclass:: {path}\n" + ("   :members:\n" if members else "")


def section(module):
    """Returns the section of a file: its title and what it exports."""
    title = module.__doc__.splitlines()[0].rstrip(".")
    lines = "".join(directive(module, name) for name in module.__all__)
    return f"## {title}\n\n```{{eval-rst}}\n{lines}```\n"


def summary(modules):
    """Returns a table of names, each with its first line."""
    paths = [path_of(module, name) for module in modules for name in module.__all__]
    if len(paths) < 3:
        return ""
    rows = "".join(f"   {path}\n" for path in paths)
    return f"```{{eval-rst}}\n.. autosummary::\n   :nosignatures:\n\n{rows}```\n\n"


def expanded(text, others):
    """Returns a page with a table and sections in place of each line."""

    def sections(line):
        modules = files(line[1], others)
        return summary(modules) + "\n".join(map(section, modules))

    return PLACE.sub(sections, text)


def setup(app):
    folder = Path(app.srcdir) / "api"

    def read(app, name, source):
        if name.startswith("api/"):
            source[0] = expanded(source[0], places(folder))

    app.connect("source-read", read)
    return {"parallel_read_safe": True}
