"""The metric that CONTRIBUTING.md adds works, and tests notice a missing step."""

import pytest

from tests.docs.toy import Copy, blocks, lines_of_code

FILE, REFERENCE, ROW = blocks("Add a metric")
ROOM = "keras_calib/metrics/"
GUARDS = ["tests/test_registry.py", "tests/docs/test_api.py"]
STEPS = {
    "the export": lambda copy: copy.insert(
        f"{ROOM}__init__.py",
        "from keras_calib.metrics.top_k",
        "from keras_calib.metrics.spherical import SphericalScore\n",
    ),
    "its name": lambda copy: copy.insert(
        f"{ROOM}__init__.py", '    "TopKCalibrationError"', '    "SphericalScore",\n'
    ),
    "the definition": lambda copy: copy.insert(
        "tests/metrics/reference.py", "@dataclass", f"{REFERENCE}\n\n"
    ),
    "the row": lambda copy: copy.insert(
        "tests/metrics/reference.py", "        row(M.AURC", f"        {ROW.strip()},\n"
    ),
    "the API page": lambda copy: copy.insert(
        "docs/api/metrics.md",
        ".. autoclass:: BrierDecomposition",
        ".. autoclass:: keras_calib.metrics.SphericalScore\n",
    ),
}


@pytest.fixture
def copy(tmp_path):
    copy = Copy(tmp_path)
    copy.write(f"{ROOM}spherical.py", FILE)
    return copy


def test_it_is_short():
    assert lines_of_code(FILE) <= 25


@pytest.mark.slow
def test_it_passes_the_common_tests(copy):
    for step in STEPS.values():
        step(copy)
    passed, output = copy.pytest("tests/metrics/test_contract.py", "-k", "spherical")
    assert passed, output
    assert " passed" in output
    passed, output = copy.pytest(*GUARDS)
    assert passed, output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forgotten", "message"),
    [
        (["the export", "its name", "the row"], "add SphericalScore to __all__"),
        (["the row"], "add a row for SphericalScore"),
        (["the API page"], "keras_calib.metrics.SphericalScore"),
    ],
    ids=["export", "row", "page"],
)
def test_a_missing_step_is_named(copy, forgotten, message):
    for name, step in STEPS.items():
        if name not in forgotten:
            step(copy)
    passed, output = copy.pytest(*GUARDS, "-k", "metrics or SphericalScore")
    assert not passed
    assert message in output
