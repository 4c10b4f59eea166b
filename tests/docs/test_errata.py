"""Computes every figure of docs/errata.md and compares all its digits.

`tests/docs/errata` has one file of checks for each source text.
"""

import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.backends import tensorflow_only
from tests.docs.errata.tools import CHECKS

for number in range(1, 6):
    import_module(f"tests.docs.errata.d{number}")

pytestmark = tensorflow_only

PAGE = Path(__file__).parents[2].joinpath("docs/errata.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"\n### (D\d-\d+)\n(.*?)(?=\n##|\Z)", PAGE, re.DOTALL))
FIGURES = {
    name: re.findall(r"`(-?[\d.]+)`", text.split("- Check:")[1])
    for name, text in ENTRIES.items()
    if "- Check: none" not in text
}


def test_every_entry_with_figures_has_a_check_and_no_other():
    assert set(CHECKS) == set(FIGURES)
    assert all(FIGURES.values())


@pytest.mark.parametrize("name", list(FIGURES))
def test_figures(name):
    found = [float(x) for x in CHECKS[name]()]
    assert len(found) == len(FIGURES[name])
    for computed, printed in zip(found, FIGURES[name], strict=True):
        digits = len(printed.partition(".")[2])
        assert abs(computed - float(printed)) <= 0.5001 * 10.0**-digits, printed


def test_every_entry_says_where_what_and_right():
    kinds = re.compile(r"\*\*.+?\s(Wrong|Weak|Right)\.\*\*", re.DOTALL)
    for name, text in ENTRIES.items():
        assert kinds.search(text), name
        assert [f"- {s}:" in text for s in ("Printed", "Right", "Check")] == [True] * 3
