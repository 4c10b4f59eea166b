"""The calibrator that CONTRIBUTING.md adds works, and tests notice a missing step."""

import pytest

from tests.docs.toy import Copy, blocks, lines_of_code

FILE, ROW = blocks("Add a calibrator")
ROOM = "keras_calib/calibrators/"
STEPS = {
    "the export": lambda copy: copy.insert(
        f"{ROOM}__init__.py",
        "__all__",
        "from keras_calib.calibrators.prior_shift import PriorShift\n\n",
    ),
    "its name": lambda copy: copy.insert(
        f"{ROOM}__init__.py", '    "TemperatureScaling"', '    "PriorShift",\n'
    ),
    "the row": lambda copy: copy.insert(
        "tests/calibrators/test_common.py", '    "temperature"', ROW
    ),
    "the API page": lambda copy: copy.insert(
        "docs/api/calibrators.md",
        ".. autoclass:: VectorScaling",
        ".. autoclass:: PriorShift\n",
    ),
}


@pytest.fixture
def copy(tmp_path):
    copy = Copy(tmp_path)
    copy.write(f"{ROOM}prior_shift.py", FILE)
    return copy


def test_it_is_short():
    assert lines_of_code(FILE) <= 25


@pytest.mark.slow
def test_it_passes_the_common_tests(copy):
    for step in STEPS.values():
        step(copy)
    passed, output = copy.pytest("tests/calibrators/test_common.py", "-k", "prior")
    assert passed, output
    assert " passed" in output
    guards = ["tests/test_registry.py", "tests/docs/test_api.py"]
    passed, output = copy.pytest(*guards)
    assert passed, output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forgotten", "message"),
    [
        (["the export", "its name", "the row"], "add PriorShift to __all__"),
        (["the row"], "add a row for PriorShift"),
        (["the API page"], "PriorShift"),
    ],
    ids=["export", "row", "page"],
)
def test_a_missing_step_is_named(copy, forgotten, message):
    for name, step in STEPS.items():
        if name not in forgotten:
            step(copy)
    guards = ["tests/test_registry.py", "tests/docs/test_api.py"]
    passed, output = copy.pytest(*guards, "-k", "alibrator or PriorShift")
    assert not passed
    assert message in output
