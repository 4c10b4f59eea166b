"""The site builds without a warning, and loads nothing from the network."""

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
    if browser.BROWSER is None:
        pytest.skip("the pages are right, but how they look is seen with Chromium only")
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
        if callable(api_pages.thing_at(path)):
            source = re.search(r'href="../(_modules/.+?)#(.+?)"', shown)
            assert source and f'id="{source[2]}"' in pages[source[1]], path
        text = "".join(re.sub("<.*?>", "", shown, flags=re.DOTALL).split())
        assert not re.search(r"\(\*+\w", text), path
    for page in api_pages.PAGES:
        for paths in api_pages.tables(page).values():
            for path in paths:
                assert f'href="{path}.html#{path}"' in pages[f"api/{page}.html"], path


def code_has_a_copy_button(built):
    assert (built / "_static" / "copybutton.js").exists()


def nothing_overflows(built, pages):
    """On a phone, a tablet and a desktop, in light and dark.

    A page of one object, which is like the others, is looked at on a phone.
    """
    of_objects = {f"api/{path}.html" for path in LISTED}
    others = {page for page in pages if not page.startswith("_modules/")} - of_objects
    assert browser.overflows(built, sorted(others)) == []
    assert browser.overflows(built, sorted(of_objects), browser.WIDTHS[:1]) == []


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


@pytest.mark.skipif(browser.BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_shadow_shows_on_which_side_a_table_goes_on(theme, tmp_path):
    furo = Path(pytest.importorskip("furo").__file__).parent
    pyplot = pytest.importorskip("matplotlib.pyplot")
    sheets = (
        furo / "theme" / "furo" / "static" / "styles" / "furo.css",
        DOCS / "_static" / "keras_calib.css",
    )
    html = "".join(f"<link rel=stylesheet href={sheet.as_uri()}>" for sheet in sheets)
    html += f"<body data-theme={theme} role=main>"
    # The width of the table, how far it is scrolled, and the sides with a shadow.
    cases = (900, 0, [1]), (900, 300, [0, 1]), (900, 600, [0]), (200, 0, [])
    for i, (width, *_) in enumerate(cases):
        html += (
            f"<div class='table-wrapper container' style='position: absolute; left: 0; "
            f"top: {200 * i}px; width: 300px; padding: 0'><table class=docutils>"
            f"<td style='min-width: {width}px; height: 100px'></table></div>"
        )
    moves = "document.querySelectorAll('div').forEach((e, i) => e.scrollLeft = to[i])"
    html += f"<script>const to = {[case[1] for case in cases]}; {moves}</script>"
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html>{html}", encoding="utf-8")
    image = pyplot.imread(browser.picture(page))
    for i, (*_, expected) in enumerate(cases):
        row = image[200 * i + 60, :, :3]
        shown = [
            side for side in (0, 1) if abs(row[(1, 298)[side]] - row[150]).max() > 0.2
        ]
        assert shown == expected, i


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
