"""Run the notebooks and keep their outputs: `python docs/notebooks/execute.py`.

It needs the packages nbclient and ipykernel.
"""

import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
# What TensorFlow reports of itself.
LOGGED = re.compile(r"^(INFO|WARNING):tensorflow:.*\n", re.MULTILINE)


def executed(path):
    """Returns a notebook with new outputs, without installing anything."""
    notebook = nbformat.read(path, as_version=4)
    # A cell with this tag is left out: it is for hosted notebooks.
    skip = {"skip_cells_with_tag": "hosted"}
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(notebook, resources=where, timeout=300, **skip).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = list(filter(None, map(worth_keeping, cell.outputs)))
    return notebook


def worth_keeping(output):
    """Returns an output without logs, or None if there is nothing else."""
    if output.output_type != "stream":
        return output
    output.text = LOGGED.sub("", output.text)
    return output if output.name == "stdout" and output.text.strip() else None


def main():
    """Executes all notebooks."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(executed(path), path)


if __name__ == "__main__":
    main()
