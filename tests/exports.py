"""What each room of the package exports: what its files list in `__all__`."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import keras_calib
from keras_calib import (
    calibrators,
    callbacks,
    evaluation,
    layers,
    losses,
    metrics,
    ops,
    serving,
    viz,
)

ROOMS = (
    calibrators,
    callbacks,
    evaluation,
    layers,
    losses,
    metrics,
    ops,
    serving,
    viz,
)

# Files that import a package of an extra, which is not in the environment of the tests:
# the package, and where it is tested.
IN_AN_EXTRA = {"keras_calib.beam": "apache_beam", "keras_calib.tfma": "apache_beam"}


def files(room):
    """Returns the modules of a room."""
    names = sorted(module.name for module in pkgutil.iter_modules(room.__path__))
    return [importlib.import_module(f"{room.__name__}.{name}") for name in names]


def exports(room):
    """Returns the public objects of a room by name, file by file."""
    return {
        name: getattr(module, name)
        for module in files(room)
        for name in getattr(module, "__all__", ())
    }


def top_level():
    """Returns what `keras_calib` itself exports, but for its rooms."""
    return {
        name: thing
        for name, thing in vars(keras_calib).items()
        if not name.startswith("_") and not inspect.ismodule(thing)
    }


def lines(room):
    """Returns the lines of a room's `__init__.py` that export its files."""
    return [
        f"from {module.__name__} import *\n"
        for module in files(room)
        if hasattr(module, "__all__")
    ]


def main():
    """Writes those lines, as `make format` does."""
    for room in ROOMS:
        path = Path(room.__file__)
        docstring = path.read_text("utf-8").partition("\n\nfrom ")[0]
        path.write_text(f"{docstring}\n\n{''.join(lines(room))}", "utf-8")


if __name__ == "__main__":
    main()
