"""The notebooks run, and show what they showed when their outputs were kept.

Their text must be the same, and the numbers that they print within a tenth: a network
that is trained on another processor is not the same to the last digit. Whoever changes
a notebook or the library so that this fails runs `python docs/notebooks/execute.py`.
"""

import re
import runpy
from pathlib import Path

import pytest

from tests.backends import tensorflow_only

nbformat = pytest.importorskip("nbformat", reason="the extra 'test' has it")
pytest.importorskip("nbclient", reason="the extra 'test' has it")
pytest.importorskip("ipykernel", reason="the extra 'test' has it")

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def shown(notebook):
    """Returns for each cell of code the kinds of its outputs, and their text."""
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            data = [output.data for output in cell.outputs if "data" in output]
            kinds = [sorted(each) for each in data]
            printed = "".join(output.get("text", "") for output in cell.outputs)
            tables = "".join(each.get("text/html", "") for each in data)
            cells.append((kinds, printed, tables))
    return cells


@tensorflow_only
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_showed(path):
    executed = runpy.run_path(str(FOLDER / "execute.py"))["executed"](path)
    kept = nbformat.read(path, as_version=4)
    for new, old in zip(shown(executed), shown(kept), strict=True):
        assert new[0] == old[0]
        for now, before in zip(new[1:], old[1:], strict=True):
            assert NUMBER.sub("#", now) == NUMBER.sub("#", before)
        now, before = (list(map(float, NUMBER.findall(text[1]))) for text in (new, old))
        assert now == pytest.approx(before, rel=0.1, abs=0.05)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_hosted_notebook_installs_the_package_first(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    hosted = ["hosted" in cell.metadata.get("tags", ()) for cell in code]
    assert hosted == [True] + [False] * (len(code) - 1)
    assert code[0].source.endswith('%pip install -q "keras-calib[demo]"')
    assert all(cell.outputs or "def " in cell.source for cell in code[2:])


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == [
        "evaluate_and_calibrate",
        "noisy_labels",
        "serve",
    ]
