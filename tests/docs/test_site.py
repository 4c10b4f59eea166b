"""The site builds without a warning, and loads nothing from the network."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import tensorflow_only
from tests.docs import browser
from tests.docs.test_api import LISTED, api_pages

PACKAGES = (
    *("sphinx", "myst_nb", "furo", "math_core"),
    *("sphinx_copybutton", "sphinx_design"),
)
DOCS = Path(__file__).parents[2] / "docs"
READ = str(DOCS / "_build" / "html" / ".doctrees")
# Addresses that a browser loads without a click.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(?:https?:)?//"
    r"|<link\b(?![^>]*\brel=\"(?:canonical|license)\")[^>]*\bhref=\"(?:https?:)?//"
)
FETCHED_BY_CSS = re.compile(r"@import[^;]*//|url\([\"']?(?:https?:)?//")


@tensorflow_only
@pytest.mark.slow
def test_the_site(tmp_path):
    """In one test, because each process that runs a part of it would build the site.

    It takes what `make docs` has read, and writes all pages anew: where only some are
    written, Sphinx drops the index entries of the others from the search.
    """
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"the extra 'docs' has {package}")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going"]
    done = subprocess.run(
        [*command, "--quiet", "-d", READ, str(DOCS), str(tmp_path)],
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
    formulas_are_mathml(pages)
    docstrings_leave_no_markdown(pages)
    names_in_code_link_to_the_api(pages["articles/gamma_cross_entropy.html"])
    every_object_has_a_page_with_its_signature_and_source(pages)
    code_has_a_copy_button(tmp_path)
    if browser.BROWSER:
        nothing_overflows(tmp_path, pages)
        the_search_finds_the_right_page_first(tmp_path)


def nothing_is_fetched(pages, sheets):
    for name, html in pages.items():
        assert not FETCHED.search(html), name
    for sheet in sheets:
        assert not FETCHED_BY_CSS.search(sheet.read_text(encoding="utf-8")), sheet


def formulas_are_mathml(pages):
    assert "<math" in pages["api/keras_calib.GammaCE.html"]
    sources = (html for name, html in pages.items() if not name.startswith("_modules"))
    without_code = (re.sub("<pre.*?</pre>", "", html, flags=re.S) for html in sources)
    assert not any(r"\frac" in html for html in without_code)


def docstrings_leave_no_markdown(pages):
    for name, html in pages.items():
        if name.startswith("api/"):
            assert "```" not in html and "](http" not in html, name


def names_in_code_link_to_the_api(page):
    name = "keras_calib.callbacks.AdaptiveGamma"
    link = rf'<a [^>]*href="../api/{name}.html#{name}"'
    assert re.search(link + r".*?Adaptive</span><wbr><span class=\"pre\">Gamma", page)
    assert "tests/</span><wbr>" in page


def every_object_has_a_page_with_its_signature_and_source(pages):
    for path in LISTED:
        html = pages[f"api/{path}.html"]
        assert f'id="{path}"' in html, path
        shown = html.partition(f'id="{path}"')[2].partition("</dt>")[0]
        thing = api_pages.thing_at(path)
        code = getattr(thing, "__code__", None)
        # The function form of a loss is made from its class: it has no source.
        if inspect.isclass(thing) or (code and code.co_name == thing.__name__):
            assert 'href="../_modules/keras_calib/' in shown, path
        text = "".join(re.sub("<.*?>", "", shown, flags=re.DOTALL).split())
        assert "(*args,**kwargs)" not in text, path
    for page in api_pages.PAGES:
        for paths in api_pages.tables(page).values():
            for path in paths:
                assert f'href="{path}.html#{path}"' in pages[f"api/{page}.html"], path


def code_has_a_copy_button(built):
    assert (built / "_static" / "copybutton.js").exists()


def nothing_overflows(built, pages):
    """On a phone, a tablet and a desktop, in light and dark."""
    shown = {f"api/{page}.html" for page in api_pages.PAGES}
    shown |= {
        f"api/keras_calib.{x}.html" for x in ("GammaCE", "BinStatistics", "check")
    }
    shown |= {page for page in pages if not page.startswith(("api/", "_modules/"))}
    assert browser.overflows(built, sorted(shown)) == []


def the_search_finds_the_right_page_first(built):
    right = {
        "adaptive ECE": "guides/measuring_calibration.html",
        "noisy labels": "guides/label_noise.html",
        "overconfident": "guides/post_hoc_calibration.html",
        "segmentation": "guides/segmentation.html",
        "conformal": "not_here.html",
    }
    assert browser.first_results(built, list(right)) == list(right.values())


@pytest.mark.skipif(browser.BROWSER is None, reason="needs Chromium")
def test_what_is_too_wide_is_found(tmp_path):
    word = "w" * 200
    for name, body in {
        "box": "<div style='width: 900px'>wide</div>",
        "text": f"<p>{word}</p>",
        "scrolls": f"<div style='overflow-x: auto'><p>{word}</p></div>",
        "narrow": "<p>short words only</p>",
    }.items():
        html = f"<!doctype html><body><article>{body}</article></body>"
        (tmp_path / f"{name}.html").write_text(html, encoding="utf-8")
    names = ["box.html", "text.html", "scrolls.html", "narrow.html"]
    found = {tuple(row[:3]) for row in browser.overflows(tmp_path, names)}
    assert found == {
        *(("box.html", theme, w) for theme in ("light", "dark") for w in (420, 768)),
        *(
            ("text.html", theme, w)
            for theme in ("light", "dark")
            for w in browser.WIDTHS
        ),
    }


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
