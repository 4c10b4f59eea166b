"""EXACT learns on small tables."""

import pytest

from examples import expected_accuracy
from tests.backends import tensorflow_only


@pytest.mark.slow
@tensorflow_only
def test_it_prints_the_table(capsys):
    expected_accuracy.main(["--seeds", "1", "--epochs", "10"])
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[-2:] == ["wine", "breast_cancer"]
    assert len(rows) == len(expected_accuracy.METHODS)
    for row in rows:
        wine, cancer = (
            float(cell.split("±")[0]) for cell in row[26:].split("  ") if cell
        )
        assert wine > 60 and cancer > 80, row
