"""The loss that CONTRIBUTING.md adds works, and tests notice a missing step."""

import pytest

from tests.docs.toy import Copy, blocks, lines_of_code

FILE, ROW = blocks("Add a loss")
ROOM = "keras_calib/losses/"
GUARDS = ["tests/test_registry.py", "tests/docs/test_api.py"]
STEPS = {
    "the export": lambda copy: copy.insert(
        f"{ROOM}__init__.py",
        "__all__",
        "from keras_calib.losses.error_rate import ErrorRateCE, error_rate_ce\n\n",
    ),
    "its names": lambda copy: copy.insert(
        f"{ROOM}__init__.py",
        '    "additive',
        '    "ErrorRateCE",\n    "error_rate_ce",\n',
    ),
    "the row": lambda copy: copy.insert("tests/losses/table.py", '    "poly"', ROW),
    "the API page": lambda copy: copy.insert(
        "docs/api/losses.md",
        ".. autofunction:: gamma_ce",
        ".. autoclass:: ErrorRateCE\n.. autofunction:: error_rate_ce\n",
    ),
}


@pytest.fixture
def copy(tmp_path):
    copy = Copy(tmp_path)
    copy.write(f"{ROOM}error_rate.py", FILE)
    return copy


def test_it_is_short():
    assert lines_of_code(FILE) <= 25


@pytest.mark.slow
def test_it_passes_the_common_tests(copy):
    for step in STEPS.values():
        step(copy)
    common = [f"tests/losses/test_{name}.py" for name in ("common", "functions")]
    passed, output = copy.pytest(*common, "-k", "error_rate")
    assert passed, output
    passed, output = copy.pytest(*GUARDS, "tests/test_docstrings.py", "-k", "not viz")
    assert passed, output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forgotten", "message"),
    [
        (["the export", "its names", "the row"], "add ErrorRateCE to __all__"),
        (["the export", "its names", "the row"], "add error_rate_ce to __all__"),
        (["the row"], "add a row for ErrorRateCE"),
        (["the API page"], "losses.ErrorRateCE"),
    ],
    ids=["export", "function", "row", "page"],
)
def test_a_missing_step_is_named(copy, forgotten, message):
    for name, step in STEPS.items():
        if name not in forgotten:
            step(copy)
    passed, output = copy.pytest(*GUARDS, "-k", "losses or ErrorRateCE")
    assert not passed
    assert message in output
