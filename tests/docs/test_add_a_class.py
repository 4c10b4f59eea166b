"""The loss, the metric and the calibrator that CONTRIBUTING.md adds work.

Each writes three files: its own, the table of the tests and the changelog. Tests name
a step that is missing.
"""

from typing import NamedTuple

import pytest

from tests.docs.toy import Copy, blocks, lines_of_code


class Toy(NamedTuple):
    """How a class is added.

    Attributes:
        title: the section of CONTRIBUTING.md, of which the first block is the file.
        path: where the file goes.
        names: what it exports.
        rows: where each other block goes: the file, the line before which it is
            inserted, and the form of a line there.
        tests: the common tests of the class.
    """

    title: str
    path: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]

    def copy(self, folder, *, tested):
        """Returns a copy of the project with the class, and its rows in the tests."""
        copy = Copy(folder)
        file, *others = blocks(self.title)
        copy.write(f"keras_calib/{self.path}", file)
        for (path, before, form), text in zip(self.rows, others, strict=True):
            if tested:
                copy.insert(path, before, form.format(text.strip()))
        return copy


TOYS = {
    "loss": Toy(
        "Add a loss",
        "losses/error_rate.py",
        ("ErrorRateCE", "error_rate_ce"),
        (("tests/losses/table.py", '    "poly"', "    {}\n"),),
        ("tests/losses/test_common.py", "tests/losses/test_functions.py"),
    ),
    "metric": Toy(
        "Add a metric",
        "metrics/spherical.py",
        ("SphericalScore",),
        (
            ("tests/metrics/reference.py", "@dataclass", "{}\n\n\n"),
            ("tests/metrics/reference.py", "        row(M.AURC", "        {},\n"),
        ),
        ("tests/metrics/test_contract.py",),
    ),
    "calibrator": Toy(
        "Add a calibrator",
        "calibrators/prior_shift.py",
        ("PriorShift",),
        (("tests/calibrators/test_common.py", '    "temperature"', "    {}\n"),),
        ("tests/calibrators/test_common.py",),
    ),
}
GUARDS = (
    "tests/test_registry.py",
    "tests/docs/test_api.py",
    "tests/test_docstrings.py",
)

every_toy = pytest.mark.parametrize("toy", TOYS.values(), ids=TOYS)


@every_toy
def test_it_is_short(toy):
    assert lines_of_code(blocks(toy.title)[0]) <= 25
    assert len({path for path, *_ in toy.rows}) == 1


@pytest.mark.slow
@every_toy
def test_it_passes_the_common_tests(toy, tmp_path):
    copy = toy.copy(tmp_path, tested=True)
    copy.insert("CHANGELOG.md", "## [Unreleased]", f"- New: `{toy.names[0]}`.\n")
    assert copy.run("tests.exports")[0]
    row = toy.path.split("/")[1].removesuffix(".py")
    passed, output = copy.pytest(*toy.tests, "-k", row)
    assert passed, output
    assert " passed" in output
    passed, output = copy.pytest(*GUARDS, "-k", "not viz")
    assert passed, output


@pytest.mark.slow
@every_toy
@pytest.mark.parametrize("forgotten", ["export", "name", "row and line"])
def test_a_missing_step_is_named(toy, forgotten, tmp_path):
    copy = toy.copy(tmp_path, tested=False)
    file = f"keras_calib/{toy.path}"
    name, module = toy.names[-1], file.removesuffix(".py").replace("/", ".")
    messages = {
        "export": [f"run `make format`: {{'from {module} import *"],
        "name": [f"add {name} to __all__ of {module}"],
        "row and line": [
            f"add a row for {toy.names[0]}",
            f"add a line on {toy.names[0]} to CHANGELOG.md",
        ],
    }[forgotten]
    if forgotten == "name":
        text = (copy.root / file).read_text("utf-8")
        listed = "".join(f', "{n}"' for n in toy.names[1:]) or f'"{name}"'
        assert listed in text
        copy.write(file, text.replace(listed, "", 1))
    if forgotten != "export":
        assert copy.run("tests.exports")[0]
    passed, output = copy.pytest(GUARDS[0])
    assert not passed
    assert all(message in output for message in messages)
