"""The Python code of every page runs from top to bottom.

A ```text block directly after a ```python block shows what that block prints.
"""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from tests.backends import tensorflow_only

DOCS = Path(__file__).parents[2] / "docs"
CODE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.DOTALL | re.M)
# The first needs a server, and tests/serving/test_guide.py runs it. tests/check_dist.py
# runs the second.
ELSEWHERE = {"guides/serving.md", "quick_start.md"}
# These take more than a few seconds each.
SLOW = {"guides/post_hoc_calibration.md", "guides/segmentation.md"}


def pages():
    for path in sorted(DOCS.rglob("*.md")):
        name = path.relative_to(DOCS).as_posix()
        if "_build" in path.parts or name in ELSEWHERE or not CODE.search(text(name)):
            continue
        yield pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())


def text(name):
    return (DOCS / name).read_text(encoding="utf-8")


@tensorflow_only
@pytest.mark.parametrize("name", list(pages()))
def test_the_code_runs_and_prints_what_the_page_shows(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for code, shown in CODE.findall(text(name)):
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(code, name, "exec"), names)
        if shown:
            assert printed.getvalue() == shown, code


def test_output_is_found():
    page = "```python\nprint(1)\n```\n\n```text\n1\n```\n\n```python\nx = 2\n```\n"
    assert CODE.findall(page) == [("print(1)\n", "1\n"), ("x = 2\n", "")]


@pytest.mark.parametrize("name", sorted(ELSEWHERE | SLOW))
def test_pages_that_are_named_exist(name):
    assert CODE.search(text(name))
