"""Every loss, metric and calibrator is exported, registered and tested in common."""

import importlib
import inspect
import pkgutil
from functools import partial

import keras
import pytest

from keras_calib import calibrators, losses, metrics
from keras_calib.arguments import default_name
from keras_calib.losses.base import CalibrationLoss
from tests.calibrators.test_common import ROWS
from tests.losses.table import ALL, BINARY, OF_A_BATCH
from tests.metrics.reference import TABLE

# For each room, its base class, and the constructors in the table of its common tests.
ROOMS = {
    losses: (
        CalibrationLoss,
        [
            partial(row, from_logits=True)
            for table in (ALL, BINARY, OF_A_BATCH)
            for row in table.values()
        ],
    ),
    metrics: (metrics.CalibrationMetric, [row.make for row in TABLE.values()]),
    calibrators: (calibrators.Calibrator, [row.make for row in ROWS.values()]),
}


def classes(room, base):
    """Returns the classes that the files of a room define, except its bases."""
    modules = [
        importlib.import_module(f"{room.__name__}.{module.name}")
        for module in pkgutil.iter_modules(room.__path__)
    ]
    found = {
        thing
        for module in modules
        for _, thing in inspect.getmembers(module, inspect.isclass)
        if issubclass(thing, base)
        and not thing.__name__.startswith("_")
        and not thing.__doc__.startswith("Base of")
    }
    return sorted(found, key=lambda cls: cls.__name__)


EVERY = [
    (room, cls) for room, (base, _) in ROOMS.items() for cls in classes(room, base)
]
every_class = pytest.mark.parametrize(
    ("room", "cls"), EVERY, ids=[cls.__name__ for _, cls in EVERY]
)


@every_class
def test_is_exported(room, cls):
    name = cls.__name__
    assert name in room.__all__, f"add {name} to __all__ of {room.__name__}"
    assert getattr(room, name) is cls


@pytest.mark.parametrize(
    "cls", [c for room, c in EVERY if room is losses], ids=lambda c: c.__name__
)
def test_a_loss_has_its_function_form(cls):
    name = default_name(cls)
    module = importlib.import_module(cls.__module__)
    assert hasattr(module, name), (
        f"add {name} = function_of({cls.__name__}) to {cls.__module__}"
    )
    assert name in losses.__all__, f"add {name} to __all__ of {losses.__name__}"
    assert getattr(losses, name) is getattr(module, name)


@every_class
def test_is_registered_for_saving(room, cls):
    name = f"keras_calib>{cls.__name__}"
    assert keras.saving.get_registered_name(cls) == name, f"register {name}"


@every_class
def test_has_a_row_in_the_common_tests(room, cls):
    made = {type(make()) for make in ROOMS[room][1]}
    assert cls in made, f"add a row for {cls.__name__} to the table of {room.__name__}"
