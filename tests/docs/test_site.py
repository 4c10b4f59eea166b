"""The site builds without a warning, and loads nothing from the network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import tensorflow_only

DOCS = Path(__file__).parents[2] / "docs"
# Addresses that a browser loads without a click.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(?:https?:)?//"
    r"|<link\b(?![^>]*\brel=\"(?:canonical|license)\")[^>]*\bhref=\"(?:https?:)?//"
)
FETCHED_BY_CSS = re.compile(r"@import[^;]*//|url\([\"']?(?:https?:)?//")


@tensorflow_only
@pytest.mark.slow
def test_the_site(tmp_path):
    """In one test, because each process that runs a part of it would build the site."""
    for package in ("sphinx", "myst_parser", "furo", "math_core"):
        pytest.importorskip(package, reason=f"the extra 'docs' has {package}")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going"]
    done = subprocess.run(
        [*command, "--quiet", str(DOCS), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
    )
    assert done.returncode == 0, done.stderr
    pages = {
        page.relative_to(tmp_path).as_posix(): page.read_text(encoding="utf-8")
        for page in tmp_path.rglob("*.html")
    }
    assert len(pages) > 10
    nothing_is_fetched(pages, tmp_path.rglob("*.css"))
    formulas_are_mathml(pages.values())
    docstrings_leave_no_markdown(pages)
    names_in_code_link_to_the_api(pages["articles/gamma_cross_entropy.html"])


def nothing_is_fetched(pages, sheets):
    for name, html in pages.items():
        assert not FETCHED.search(html), name
    for sheet in sheets:
        assert not FETCHED_BY_CSS.search(sheet.read_text(encoding="utf-8")), sheet


def formulas_are_mathml(pages):
    assert any("<math" in html for html in pages)
    without_code = (re.sub("<pre.*?</pre>", "", html, flags=re.S) for html in pages)
    assert not any(r"\frac" in html for html in without_code)


def docstrings_leave_no_markdown(pages):
    for name, html in pages.items():
        if name.startswith("api/"):
            assert "```" not in html and "](http" not in html, name


def names_in_code_link_to_the_api(page):
    link = r'<a [^>]*href="../api/callbacks.html#keras_calib.callbacks.AdaptiveGamma"'
    assert re.search(link + r".*?Adaptive</span><wbr><span class=\"pre\">Gamma", page)
    assert "tests/</span><wbr>" in page


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.org/x.js">',
        '<link rel="stylesheet" href="//fonts.org/x.css" />',
    ],
)
def test_what_is_fetched_is_found(html):
    assert FETCHED.search(html)
    assert not FETCHED.search('<link rel="stylesheet" href="_static/x.css" />')
