"""The figures that others printed are reproduced, and the page shows them."""

from pathlib import Path

import pytest

from examples import published_figures
from examples.published_figures import FIGURES, HEADER, decimals
from tests.backends import tensorflow_only
from tests.data import real

PAGE = Path(__file__).parents[2] / "docs" / "experiments"
TABLE = (PAGE / "published_figures" / "results.md").read_text(encoding="utf-8")
ROWS = [[c.strip() for c in line[1:-2].split("|")] for line in TABLE.splitlines()]


def test_the_table_has_each_figure():
    assert ROWS[0] == list(HEADER) and len(FIGURES) >= 20
    assert [(name, printed, source) for name, printed, *_, source in ROWS[2:]] == [
        (figure.name, figure.printed, figure.source) for figure in FIGURES
    ]


@pytest.mark.parametrize("row", ROWS[2:], ids=lambda row: row[0])
def test_what_differs_is_rounding(row):
    _, printed, here, _, _ = row
    half = 0.5001 * 10.0 ** -decimals(printed)
    assert abs(float(here) - float(printed)) <= max(half, 2e-16)


@tensorflow_only
@pytest.mark.parametrize(
    ("figure", "row"),
    list(zip(FIGURES, ROWS[2:], strict=True)),
    ids=[figure.name for figure in FIGURES],
)
def test_the_figure_is_computed_again(figure, row):
    found = figure.compute(real(figure.file))
    last = 10.0 ** -min(decimals(row[2]), 12)
    assert found == pytest.approx(float(row[2]), rel=0, abs=0.51 * last)


def test_the_page_shows_the_table():
    assert TABLE in (PAGE / "published_figures.md").read_text(encoding="utf-8")


def test_what_is_missing_is_left_out(tmp_path, capsys):
    published_figures.main(["--data", str(tmp_path)])
    assert len(capsys.readouterr().out.splitlines()) == 2


@tensorflow_only
def test_a_clip_moves_the_temperature():
    path = real("netcal_probs/densenet-bc-100-cifar-100.npz")
    found = [published_figures.temperature(path, clip) for clip in (None, 1e-7)]
    assert found == pytest.approx([2.118, 1.933], abs=5e-4)
