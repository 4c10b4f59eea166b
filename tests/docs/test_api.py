"""The API pages list every public object once."""

import re
import sys
from pathlib import Path

import pytest

from tests.exports import ROOMS, exports

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def listed():
    sys.path.insert(0, str(DOCS / "_extensions"))
    try:
        from api_pages import expanded, places
    finally:
        sys.path.pop(0)
    others = places(DOCS / "api")
    pages = [page.read_text("utf-8") for page in (DOCS / "api").glob("*.md")]
    text = "\n".join(expanded(page, others) for page in pages)
    return re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_object_has_its_place(listed, room):
    for name in exports(room):
        rooms = (room.__name__, "keras_calib", "keras_calib.ops.gradient_weights")
        paths = {f"{place}.{name}" for place in rooms}
        assert paths & set(listed), f"give {room.__name__} a page in docs/api"


def test_nothing_is_shown_twice(listed):
    assert sorted(listed) == sorted(set(listed))
