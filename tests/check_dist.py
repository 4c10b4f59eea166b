"""Checks the files that `make dist` built, and installs the wheel as a user would.

python tests/check_dist.py dist
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from itertools import product
from pathlib import Path

# A newcomer's path: pages whose code runs in the fresh environment, on both backends.
NEWCOMERS = product(("README.md", "docs/quick_start.md"), ("tensorflow", "jax"))


def main(built: str) -> None:
    """Exits with a message if a file is missing, misnamed, or should not be there."""
    [wheel], [sdist] = (list(Path(built).glob(p)) for p in ("*.whl", "*.tar.gz"))
    code = Path("keras_calib/__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"$', code, re.MULTILINE)[1]
    for file in (wheel, sdist):
        if not file.name.startswith(f"keras_calib-{version}"):
            sys.exit(f"{file.name} is not of version {version}")
    packed = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0].split("-")[0] for name in packed}
    if top != {"keras_calib"}:
        sys.exit(f"the wheel contains more than the package: {top}")
    for end in ("keras_calib/py.typed", "/licenses/LICENSE"):
        if not any(name.endswith(end) for name in packed):
            sys.exit(f"the wheel lacks {end}")
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True)
    missing = set(tracked.stdout.split()) - source - {".gitignore"}
    if missing:
        sys.exit(f"the sdist lacks {sorted(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        install_and_try(wheel.resolve(), Path(folder))
    print(f"{wheel.name} and {sdist.name} are complete")


def install_and_try(wheel: Path, folder: Path) -> None:
    """Imports the wheel in a fresh environment, and runs the code of two pages."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(*arguments: object, **more: str) -> str:
        return subprocess.run(
            [python, *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=folder,
            env=environment | more,
        ).stdout

    run("-m", "pip", "install", "-qq", wheel)
    code = (
        "import keras_calib; "
        "print(keras_calib.__file__, float(keras_calib.GammaCE(0.1).gamma))"
    )
    found = run("-c", code)
    if not found.startswith(str(folder)) or not found.endswith(" 0.1\n"):
        sys.exit(f"another package was imported: {found}")
    run("-m", "pip", "install", "-qq", f"{wheel}[demo,jax]")
    script = Path("tests/newcomer.py").resolve()
    for page, backend in NEWCOMERS:
        print(run("-P", script, Path(page).resolve(), KERAS_BACKEND=backend), end="")


if __name__ == "__main__":
    main(sys.argv[1])
