"""The pages about the source texts name objects and tests that exist."""

import re
from functools import reduce
from pathlib import Path

import pytest

import keras_calib

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/articles/[!i]*.md"))


def rows(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    return [line.split(" | ") for line in lines if line.startswith("| ")][2:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_row_names_an_object_and_a_test(page):
    assert rows(page)
    for _, thing, proof, *_ in rows(page):
        reduce(getattr, thing.strip("`").split("."), keras_calib)
        assert re.search(r"`tests/\S+\.py::test_\w+`", proof)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tests_exist(page):
    text = page.read_text(encoding="utf-8")
    for path, name in re.findall(r"`(tests/\S+\.py)::(test_\w+)`", text):
        source = (ROOT / path).read_text(encoding="utf-8")
        assert f"def {name}(" in source, f"{path}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_erratum_is_linked_from_its_page(page):
    text = page.read_text(encoding="utf-8")
    errata = (ROOT / "docs/errata.md").read_text(encoding="utf-8")
    wanted = re.findall(rf"^### ({text[2:4]}-\d+)$", errata, re.MULTILINE)
    linked = re.findall(r"\[(\d+)\]\(\.\./errata\.md#(d\d)-(\d+)\)", text)
    assert wanted and all(shown == number for shown, _, number in linked)
    assert {f"{d.upper()}-{n}" for _, d, n in linked} == set(wanted)


def test_there_is_a_page_for_each_text():
    titles = [page.read_text(encoding="utf-8")[:4] for page in PAGES]
    assert sorted(titles) == [f"# D{i}" for i in range(1, 6)]
