"""The version is the same everywhere, and so are the oldest supported releases."""

import configparser
import datetime
import re
from importlib import metadata
from pathlib import Path

import pytest

import keras_calib

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_stands_in_one_place():
    assert SETUP["metadata"]["version"] == "attr: keras_calib.__version__"
    version = re.escape(keras_calib.__version__)
    assert re.search(rf"^version: {version}$", text("CITATION.cff"), re.M)
    assert re.search(rf"^## \[{version}\]", text("CHANGELOG.md"), re.M)


def test_the_changelog_lists_the_releases_from_the_newest():
    titles = re.findall(r"^## \[(.+?)\](?: - (.+))?$", text("CHANGELOG.md"), re.M)
    assert titles[0] == ("Unreleased", "")
    versions = [tuple(map(int, version.split("."))) for version, _ in titles[1:]]
    dates = [datetime.date.fromisoformat(date) for _, date in titles[1:]]
    assert versions == sorted(versions, reverse=True)
    assert dates == sorted(dates, reverse=True)
    assert ".".join(map(str, versions[0])) == keras_calib.__version__


def test_the_release_checklist_names_what_there_is():
    steps = re.search(r"^## Release\n(.+?)^## ", text("CONTRIBUTING.md"), re.M | re.S)[
        1
    ]
    targets = re.findall(r"`make (.+?)`", steps)
    assert {"dist", "test-oldest"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", text("Makefile"), re.M), target
    files = re.findall(r"`([\w./]+\.\w+|\.ci/run)`", steps)
    assert {"CHANGELOG.md", "CITATION.cff"} <= set(files)
    for file in files:
        assert (ROOT / file).exists(), file


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/support.md"])
def test_make_has_the_targets_that_a_page_names(page):
    targets = set(re.findall(r"(?:`|^)make ([a-z-]+)", text(page), re.M))
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:|^{target} ", text("Makefile"), re.M), target


def test_a_change_is_checked_by_style_types_tests_and_pages():
    steps = text("Makefile").partition("\ncheck: ")[2].partition("\n\n")[0]
    assert steps.startswith("lint ")
    for part in ("$(CORE)", "tests/docs", "$(MAKE) docs"):
        assert part in steps


def test_the_distributions_are_checked_when_they_are_built():
    built = text("Makefile").partition("\ndist:")[2].partition("\n\n")[0]
    assert "-m build" in built and "tests/check_dist.py dist" in built
    assert (
        "dist" in text(".ci/run").partition("for target in ")[2].split(";")[0].split()
    )


def test_addresses_of_the_project_are_absolute():
    lines = SETUP["metadata"]["project_urls"].strip().splitlines()
    for line in lines:
        name, _, address = line.partition(" = ")
        assert name and address.startswith("https://"), line


def test_types_are_shipped():
    assert (Path(keras_calib.__file__).parent / "py.typed").exists()
    assert SETUP["options.package_data"]["keras_calib"] == "py.typed"


@pytest.mark.parametrize(
    "requirement", SETUP["options"]["install_requires"].strip().splitlines()
)
def test_the_oldest_releases_are_those_of_the_metadata(requirement):
    name, floor = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement).groups()
    pinned = re.search(rf"^{name}==([\d.]+)$", text("tests/oldest.txt"), re.M)[1]
    assert re.fullmatch(rf"{re.escape(floor)}(\.0)*", pinned)


def test_keras_is_not_older_than_the_metadata_says():
    installed = tuple(map(int, metadata.version("keras").split(".")[:2]))
    floor = re.search(r"^keras>=([\d.]+)$", text("setup.cfg").replace("    ", ""), re.M)
    assert installed >= tuple(map(int, floor[1].split(".")))
