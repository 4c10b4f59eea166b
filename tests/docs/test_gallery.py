"""The gallery has a card for every figure, with the command that draws it."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
CARD = re.compile(
    r"^:::\{grid-item-card\} .+\n:img-top: (.+)\n:img-alt: .+\n:link: (.+)\n"
    r":link-type: doc\n\n`(.+)`\n:::$",
    re.MULTILINE,
)
TEXT = (DOCS / "gallery.md").read_text(encoding="utf-8")
CARDS = CARD.findall(TEXT)


def test_every_figure_has_a_card():
    drawn = {path.relative_to(DOCS) for path in DOCS.glob("**/*.[ps][nv]g")}
    drawn = {path.as_posix() for path in drawn if path.parts[0] != "_build"}
    assert {image for image, *_ in CARDS} == drawn
    assert len(CARDS) == TEXT.count("{grid-item-card}") == len(drawn)


@pytest.mark.parametrize(("image", "page", "command"), CARDS)
def test_a_card_leads_to_a_page_and_names_a_script(image, page, command):
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]+\]\((.+?)\)", text)
    folder = (DOCS / page).parent
    assert (DOCS / image).resolve() in [(folder / path).resolve() for path in shown]
    if command == "make demo":
        return
    script = re.match(r"python (?:-m )?(\S+)", command)[1]
    path = script if script.endswith(".py") else script.replace(".", "/") + ".py"
    assert (DOCS.parent / path).exists()
