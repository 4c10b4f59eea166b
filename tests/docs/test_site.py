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

pytestmark = [pytest.mark.slow, tensorflow_only]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for package in ("sphinx", "myst_parser", "furo", "math_core"):
        pytest.importorskip(package, reason=f"the extra 'docs' has {package}")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going"]
    done = subprocess.run(
        [*command, "--quiet", str(DOCS), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_fetches_from_the_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        assert not FETCHED.search(page.read_text(encoding="utf-8")), page
    for sheet in site.rglob("*.css"):
        assert not FETCHED_BY_CSS.search(sheet.read_text(encoding="utf-8")), sheet


def test_formulas_are_mathml(site):
    pages = [page.read_text(encoding="utf-8") for page in site.rglob("*.html")]
    assert any("<math" in page for page in pages)
    assert not any(
        r"\frac" in re.sub("<pre.*?</pre>", "", p, flags=re.S) for p in pages
    )


def test_docstrings_leave_no_markdown(site):
    for page in (site / "api").glob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert "```" not in html and "](http" not in html, page


def test_names_in_code_link_to_the_api(site):
    page = (site / "articles/gamma_cross_entropy.html").read_text(encoding="utf-8")
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
