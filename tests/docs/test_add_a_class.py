"""The loss, the metric and the calibrator that CONTRIBUTING.md adds work.

Each touches three files: its own, the table of the tests and the changelog. Tests name
a step that is missing.
"""

import json
import subprocess
from typing import NamedTuple

import pytest

from tests.docs.toy import ROOT, Copy, blocks, lines_of_code


class Toy(NamedTuple):
    """How a class is added.

    Attributes:
        title: the section of CONTRIBUTING.md, of which the first block is the file.
        room: where the file goes.
        idea: what the file holds, in the names of its tests too.
        names: what it exports.
        rows: where each other block goes: the file, the line before which it is
            inserted, and the form of a line there.
        tests: the common tests of the class.
    """

    title: str
    room: str
    idea: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]

    @property
    def path(self):
        return f"keras_calib/{self.room}/{self.idea}.py"

    @property
    def code(self):
        return blocks(self.title)[0]

    def add(self, copy):
        """Does what CONTRIBUTING.md asks for, but for `make format`."""
        copy.write(self.path, self.code)
        for (path, before, form), text in zip(
            self.rows, blocks(self.title)[1:], strict=True
        ):
            copy.insert(path, before, form.format(text.strip()))
        copy.insert("CHANGELOG.md", "## [Unreleased]", f"- New: `{self.names[0]}`.\n")

    def add_in_part(self, copy):
        """Writes the file alone, and forgets a name in its `__all__`."""
        listed, short = (
            f"__all__ = {json.dumps(names)}" for names in (self.names, self.names[:-1])
        )
        assert listed in self.code
        copy.write(self.path, self.code.replace(listed, short))


TOYS = {
    "loss": Toy(
        "Add a loss",
        "losses",
        "error_rate",
        ("ErrorRateCE", "error_rate_ce"),
        (("tests/losses/table.py", '    "poly"', "    {}\n"),),
        ("tests/losses/test_common.py", "tests/losses/test_functions.py"),
    ),
    "metric": Toy(
        "Add a metric",
        "metrics",
        "spherical",
        ("SphericalScore",),
        (
            ("tests/metrics/reference.py", "@dataclass", "{}\n\n\n"),
            ("tests/metrics/reference.py", "        row(M.AURC", "        {},\n"),
        ),
        ("tests/metrics/test_contract.py",),
    ),
    "calibrator": Toy(
        "Add a calibrator",
        "calibrators",
        "prior_shift",
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


@pytest.mark.parametrize("toy", TOYS.values(), ids=TOYS)
def test_it_is_short(toy, tmp_path):
    assert lines_of_code(toy.code) <= 25
    copy = Copy(tmp_path)
    toy.add(copy)
    assert copy.changed() == {toy.path, toy.rows[0][0], "CHANGELOG.md"}


@pytest.mark.slow
def test_they_pass_the_common_tests(tmp_path):
    copy = Copy(tmp_path)
    for toy in TOYS.values():
        toy.add(copy)
    before = copy.changed()
    assert copy.run("tests.exports")[0]
    rooms = {f"keras_calib/{toy.room}/__init__.py" for toy in TOYS.values()}
    assert copy.changed() - before == rooms
    tests = [path for toy in TOYS.values() for path in toy.tests]
    ideas = " or ".join(toy.idea for toy in TOYS.values())
    passed, output = copy.pytest(*tests, "-k", ideas, "-rp")
    assert passed, output
    for toy in TOYS.values():
        for path in toy.tests:
            ran = [x for x in output.splitlines() if x.startswith(f"PASSED {path}")]
            assert any(toy.idea in line for line in ran), path
    which = f"not viz and (not test_docstrings or {ideas})"
    passed, output = copy.pytest(*GUARDS, "-k", which)
    assert passed, output


@pytest.mark.slow
def test_every_missing_step_is_named(tmp_path):
    copy = Copy(tmp_path)
    for toy in TOYS.values():
        toy.add_in_part(copy)
    passed, output = copy.pytest(GUARDS[0])
    assert not passed
    for toy in TOYS.values():
        module = f"keras_calib.{toy.room}.{toy.idea}"
        for message in (
            f"run `make format`: {{'from {module} import *",
            f"add {toy.names[-1]} to __all__ of {module}",
            f"add a row for {toy.names[0]}",
            f"add a line on {toy.names[0]} to CHANGELOG.md",
        ):
            assert message in output


def test_make_format_writes_the_exports():
    done = subprocess.run(
        ["make", "--dry-run", "format"], cwd=ROOT, capture_output=True, text=True
    )
    assert "-m tests.exports" in done.stdout, done.stderr
