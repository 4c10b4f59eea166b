"""The figures that others printed are reproduced, and the page shows them."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import softmax

from examples import published_figures
from examples.published_figures import COMPUTED, DEFINED, HEADER, PRINTED, decimals
from tests.backends import tensorflow_only
from tests.data import real

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "experiments" / "published_figures.md"
RESULTS = PAGE.with_suffix("") / "results.md"
TABLES = RESULTS.read_text(encoding="utf-8").rstrip("\n").split("\n\n")
ROWS = [
    [[c.strip() for c in line[1:-2].split("|")] for line in table.splitlines()]
    for table in TABLES
]
CELLS = [row for table in ROWS for row in table[2:]]
FIGURES = [*PRINTED, *COMPUTED]


def test_the_tables_have_each_figure():
    assert [tuple(table[0]) for table in ROWS] == [HEADER, DEFINED]
    for table, figures in zip(ROWS, (PRINTED, COMPUTED), strict=True):
        assert [(name, digits, source) for name, digits, *_, source in table[2:]] == [
            (figure.name, figure.printed, figure.source) for figure in figures
        ]
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)


@pytest.mark.parametrize("row", CELLS, ids=lambda row: row[0])
def test_what_differs_is_rounding(row):
    _, printed, here, _, _ = row
    half = 0.5001 * 10.0 ** -decimals(printed)
    assert abs(float(here) - float(printed)) <= max(half, 2e-16)


@tensorflow_only
@pytest.mark.parametrize(
    ("figure", "row"),
    list(zip(FIGURES, CELLS, strict=True)),
    ids=[figure.name for figure in FIGURES],
)
def test_the_figure_is_computed_again(figure, row):
    found = figure.compute(real(figure.file))
    last = 10.0 ** -min(decimals(row[2]), 12)
    assert found == pytest.approx(float(row[2]), rel=0, abs=0.51 * last)


def brier(path):
    """Mean squared error of all outcomes; a tie, given as 0.5, counts as not won."""
    names = ["prob1", "probtie", "prob2"] if "world_cup" in path.name else ["prob1"]
    outcomes = [f"{name}_outcome" for name in names]
    columns = {"delimiter": ",", "names": True, "usecols": [*names, *outcomes]}
    found = np.genfromtxt(path, encoding="utf-8", **columns)
    p, y = (np.stack([found[n] for n in part]) for part in (names, outcomes))
    played = ~np.isnan(y[0])
    return np.mean(np.sum((p - np.floor(y))[:, played] ** 2, axis=0))


def ece(p, y):
    """Gaps of 15 bins of equal width, weighted by their samples."""
    confidence, hit = p.max(-1), p.argmax(-1) == y
    cell = np.minimum((15 * confidence).astype(int), 14)
    return np.abs(np.bincount(cell, confidence - hit)).sum() / len(y)


def by_definition(figure):
    if figure.name.endswith("Brier score"):
        return brier(real(figure.file))
    p, y = published_figures.arrays(real(figure.file))
    if figure.name.endswith("ECE-15"):
        return ece(p, y)
    z = np.log(np.maximum(p, 1e-7 if "Newsgroups" in figure.name else 0.0))
    of_label = np.mean(z[np.arange(len(y)), y])

    def slope(inverse):
        return np.mean(np.sum(softmax(inverse * z, -1) * z, -1)) - of_label

    inverse = brentq(slope, 0.1, 10.0, xtol=1e-12)
    if figure.name.endswith("best T") and "ECE" not in figure.name:
        return 1 / inverse
    return ece(softmax(inverse * z, -1), y)


@pytest.mark.parametrize("figure", COMPUTED, ids=lambda figure: figure.name)
def test_the_definition_gives_its_digits(figure):
    last = 10.0 ** -decimals(figure.printed)
    found = by_definition(figure)
    assert found == pytest.approx(float(figure.printed), rel=0, abs=0.5001 * last)


def test_the_page_shows_the_tables_and_the_origin_of_each_file():
    page = PAGE.read_text(encoding="utf-8")
    assert all(table in page for table in TABLES)
    assert published_figures.origins() in page
    files = [name for part in published_figures.FILES.values() for name in part]
    assert sorted(files) == sorted({figure.file for figure in FIGURES})


def test_the_pages_count_the_figures():
    printed, computed = len(PRINTED), len(COMPUTED)
    for name, said in {
        "README.md": f"{printed} figures that others have printed or whose software "
        f"gives them, and {computed} computed from their definition",
        "CHANGELOG.md": f"{printed} that others have printed or whose software gives "
        f"them, and {computed} computed from their definition",
        "docs/experiments/published_figures.md": f"Each of these {printed} figures",
        PAGE: f"The next {computed} were not published.",
    }.items():
        assert said in " ".join((ROOT / name).read_text(encoding="utf-8").split())


def test_what_is_missing_is_left_out_and_named(tmp_path, capsys):
    published_figures.main(["--data", str(tmp_path)])
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 5  # two tables without rows
    assert all(figure.file in printed.err for figure in FIGURES)


@tensorflow_only
def test_a_clip_moves_the_temperature():
    path = real("netcal_probs/densenet-bc-100-cifar-100.npz")
    found = [published_figures.temperature(path, clip) for clip in (None, 1e-7)]
    assert found == pytest.approx([2.118, 1.933], abs=5e-4)
