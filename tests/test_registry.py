"""Every loss, metric and calibrator is exported, registered and tested in common."""

import importlib
import inspect
import re
from functools import partial
from pathlib import Path

import keras
import pytest

from keras_calib import calibrators, losses, metrics
from keras_calib.arguments import default_name
from keras_calib.losses.base import CalibrationLoss
from tests.calibrators.test_common import ROWS
from tests.exports import ROOMS as ALL_ROOMS, exports, files, lines
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
    found = {
        thing
        for module in files(room)
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
    assert name in exports(room), f"add {name} to __all__ of {cls.__module__}"


@pytest.mark.parametrize("room", ALL_ROOMS, ids=lambda room: room.__name__)
def test_a_room_exports_what_its_files_list(room):
    _, _, written = Path(room.__file__).read_text("utf-8").rpartition('"""\n\n')
    wrong = set(lines(room)) ^ set(written.splitlines(keepends=True))
    assert not wrong, f"run `make format`: {wrong}"
    assert all(getattr(room, name) is thing for name, thing in exports(room).items())


@pytest.mark.parametrize(
    "cls", [c for room, c in EVERY if room is losses], ids=lambda c: c.__name__
)
def test_a_loss_has_its_function_form(cls):
    name = default_name(cls)
    module = importlib.import_module(cls.__module__)
    assert hasattr(module, name), (
        f"add {name} = function_of({cls.__name__}) to {cls.__module__}"
    )
    assert name in exports(losses), f"add {name} to __all__ of {cls.__module__}"


@every_class
def test_the_changelog_names_it(room, cls):
    changelog = Path(__file__).parents[1] / "CHANGELOG.md"
    named = re.search(rf"\b{cls.__name__}\b", changelog.read_text("utf-8"))
    assert named, f"add a line on {cls.__name__} to CHANGELOG.md"


@every_class
def test_is_registered_for_saving(room, cls):
    name = f"keras_calib>{cls.__name__}"
    assert keras.saving.get_registered_name(cls) == name, f"register {name}"


@every_class
def test_has_a_row_in_the_common_tests(room, cls):
    made = {type(make()) for make in ROOMS[room][1]}
    assert cls in made, f"add a row for {cls.__name__} to the table of {room.__name__}"
