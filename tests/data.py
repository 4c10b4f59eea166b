"""Finds real data, which are not part of the repository.

They are in the folder that KERAS_CALIB_DATA names, or in `shared/data` beside the
repository. A test whose data are missing is skipped.
"""

import os
from pathlib import Path

import pytest

FOLDER = Path(
    os.environ.get("KERAS_CALIB_DATA")
    or Path(__file__).resolve().parents[2] / "shared" / "data"
)


def real(name):
    """Returns the path of a file or folder; skips the test if it is missing."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(
            f"no {name} in {FOLDER}: set KERAS_CALIB_DATA to the folder that has it"
        )
    return path
