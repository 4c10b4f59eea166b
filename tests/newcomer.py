"""Runs the code of a page from top to bottom, as a newcomer would.

python tests/newcomer.py README.md

`tests/check_dist.py` runs it in a fresh environment that has the wheel alone.
"""

import re
import sys
from pathlib import Path

import keras


def main(page: str) -> None:
    """Exits with an error where a block of Python fails."""
    blocks = re.findall(r"```python\n(.*?)```", Path(page).read_text("utf-8"), re.S)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        # The page on support says that only TensorFlow writes a SavedModel.
        if keras.backend.backend() != "tensorflow":
            block = re.sub(r"^folder = .+$", "", block, flags=re.MULTILINE)
        exec(compile(block, page, "exec"), names)
    print(f"the {len(blocks)} blocks of {page} run on {keras.backend.backend()}")


if __name__ == "__main__":
    main(sys.argv[1])
