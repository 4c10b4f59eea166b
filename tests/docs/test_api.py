"""The API has a page for every public object, and for every room a table of them."""

import inspect
import sys
from pathlib import Path

import pytest

from tests.exports import ROOMS, exports

pytest.importorskip("sphinx", reason="the extra 'docs' has sphinx")
DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "_extensions"))
try:
    import api_pages
finally:
    sys.path.pop(0)
LISTED = [
    path
    for page in api_pages.PAGES
    for paths in api_pages.tables(page).values()
    for path in paths
]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_object_is_listed(room):
    listed = {id(api_pages.thing_at(path)) for path in LISTED}
    missing = [name for name, thing in exports(room).items() if id(thing) not in listed]
    assert not missing, f"give {room.__name__} a page in docs/_extensions/api_pages.py"


def test_a_mocked_base_hides_no_arguments():
    paths = [
        path
        for path in LISTED
        if path.startswith(("keras_calib.beam.", "keras_calib.tfma."))
    ]
    assert paths
    for path in paths:
        found = inspect.signature(api_pages.thing_at(path)).parameters
        assert "args" not in found and "kwargs" not in found, path


def test_nothing_is_listed_twice():
    assert sorted(LISTED) == sorted(set(LISTED))


def test_the_index_lists_the_pages():
    index = (DOCS / "api" / "index.md").read_text("utf-8")
    assert [
        line.strip() for line in index.splitlines() if "   keras_calib." in line
    ] == [*api_pages.PAGES]
