"""The version is the same everywhere, and so are the oldest supported releases."""

import configparser
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
