"""Each rule stops where it should, and a quick run prints the table."""

from pathlib import Path

import numpy as np
import pytest

from examples import when_to_stop
from tests.backends import tensorflow_only

PAGE = Path(__file__).parents[2] / "docs" / "experiments"
RULES = ["validation loss", "validation accuracy", "refinement loss"]


def test_the_patience_ends():
    assert when_to_stop.chosen([3.0, 2.0, 2.0, 2.5, 2.1]) == 1  # the first of equals
    falling = [5.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0]
    assert when_to_stop.chosen(falling) == 1
    assert when_to_stop.chosen(falling[:2] + falling[3:]) == 6


def test_each_rule_reads_its_figure():
    """A model that is right and grows sure, then sure of its mistakes, too."""
    y = np.arange(40) % 2
    z = np.eye(2)[y] - 0.5
    wrong = z.copy()
    wrong[:4] *= -1
    better = z.copy()
    better[:2] *= -1
    logits = [wrong, 2 * better, 40 * better, 4 * wrong]
    found = when_to_stop.epochs_of(logits, y)
    assert found["validation loss"] == 1
    assert found["validation accuracy"] == 1
    assert found["refinement loss"] == 1
    assert found["none, the last epoch"] == 3
    # A temperature undoes what was only too sure.
    found = when_to_stop.epochs_of([2 * wrong, 40 * better], y)
    assert found["validation loss"] == 0
    assert found["refinement loss"] == 1


@pytest.mark.slow
@tensorflow_only
def test_a_quick_run_prints_the_table(tmp_path, capsys):
    when_to_stop.main(["--quick", "--output", str(tmp_path)])
    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    titles, _, *rows = results.strip().splitlines()
    assert titles.startswith("| digits: stopped by")
    assert [row.split("|")[1].strip() for row in rows[:3]] == RULES


def test_the_page_shows_the_tables_of_the_run():
    page = (PAGE / "when_to_stop.md").read_text(encoding="utf-8")
    results = PAGE / "when_to_stop" / "results.md"
    assert results.read_text(encoding="utf-8") in page
