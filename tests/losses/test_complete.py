"""A loss is finished when everything that finds it knows of it."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import keras
import pytest

import keras_calib
from keras_calib import losses
from keras_calib.arguments import default_name
from tests.losses.table import ALL, BINARY, OF_A_BATCH

ROOT = Path(__file__).parents[2]
for module in pkgutil.iter_modules(losses.__path__, "keras_calib.losses."):
    importlib.import_module(module.name)
LOSSES = {
    name.removeprefix("keras_calib>"): thing
    for name, thing in keras.saving.get_custom_objects().items()
    if inspect.isclass(thing) and thing.__module__.startswith("keras_calib.losses.")
    if issubclass(thing, keras.losses.Loss)
}


def missing(loss):
    """Returns what a loss still needs."""
    name, function = loss.__name__, default_name(loss)
    page = (ROOT / "docs" / "api" / "losses.md").read_text("utf-8").split()
    rows = [*ALL.values(), *BINARY.values(), *OF_A_BATCH.values()]
    needed = {
        f"{function} = function_of({name}) below the class": hasattr(
            importlib.import_module(loss.__module__), function
        ),
        f"{name} in keras_calib.losses.__all__": name in losses.__all__,
        f"{function} in keras_calib.losses.__all__": function in losses.__all__,
        f"{name} in keras_calib.__all__": name in keras_calib.__all__,
        f"a row of {name} in tests/losses/table.py": any(r.loss is loss for r in rows),
        f"autoclass of {name} in docs/api/losses.md": name in page,
        f"autofunction of {function} in docs/api/losses.md": function in page,
        f"{name} in CHANGELOG.md": f"`{name}`" in (ROOT / "CHANGELOG.md").read_text(),
    }
    return [what for what, there in needed.items() if not there]


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_is_missing(name):
    assert not missing(LOSSES[name])


def test_the_registry_is_read():
    assert {"GammaCE", "PairwiseAUCLoss"} <= set(LOSSES)
