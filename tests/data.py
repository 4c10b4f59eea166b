"""Real data: no part of the project, and a test that misses it is skipped.

The folder is that of KERAS_CALIB_DATA, or shared/data beside the repository.
"""

import os
from pathlib import Path

import pytest

FOLDER = Path(
    os.environ.get("KERAS_CALIB_DATA")
    or Path(__file__).resolve().parents[2] / "shared" / "data"
)


def real(name):
    """Returns the path of a file or folder, or skips."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no {name} in {FOLDER}: set KERAS_CALIB_DATA to its folder")
    return path
