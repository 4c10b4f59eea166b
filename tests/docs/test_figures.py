"""Scripts draw the figures of the pages, and the pages name the scripts."""

import runpy
from pathlib import Path

import pytest

from tests.svg import shapes

pytest.importorskip("matplotlib", reason="figures need matplotlib")

ROOT = Path(__file__).parents[2]
PAGES = {
    "docs/guides/figures.py": "choosing_a_loss.md",
    "docs/mathematics/figures.py": "losses.md",
}


@pytest.mark.parametrize(("script", "page"), PAGES.items())
def test_the_figure_is_drawn(script, page, tmp_path):
    script = ROOT / script
    runpy.run_path(str(script))["main"](tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in script.parent.glob("*.svg"))
    for name in drawn:
        assert shapes(tmp_path / name) == shapes(script.parent / name) > 0


@pytest.mark.parametrize(("script", "page"), PAGES.items())
def test_the_page_names_the_command(script, page):
    text = (ROOT / script).with_name(page).read_text(encoding="utf-8")
    assert f"python {script}" in text and "(losses.svg)" in text


def test_every_script_is_known():
    scripts = ROOT.glob("docs/*/*figures.py")
    assert {path.relative_to(ROOT).as_posix() for path in scripts} == set(PAGES)
