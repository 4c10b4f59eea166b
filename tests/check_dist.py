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
from pathlib import Path


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
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        subprocess.run(
            [python, "-m", "pip", "install", "-qq", wheel.resolve()], check=True
        )
        code = (
            "import keras_calib; "
            "print(keras_calib.__file__, float(keras_calib.GammaCE(0.1).gamma))"
        )
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [python, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=folder,
            env=environment,
        )
        found = done.stdout
    if not found.startswith(folder) or not found.endswith(" 0.1\n"):
        sys.exit(f"another package was imported: {found}")
    print(f"{wheel.name} and {sdist.name} are complete")


if __name__ == "__main__":
    main(sys.argv[1])
