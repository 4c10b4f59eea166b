"""Looks at what `make dist` built, and imports the wheel as a user has it.

Run as `python tests/check_dist.py dist`.
"""

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path


def main(folder: str) -> None:
    """Stops with a message where something is missing or too much."""
    [wheel], [sdist] = (list(Path(folder).glob(p)) for p in ("*.whl", "*.tar.gz"))
    packed = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0].split("-")[0] for name in packed}
    if top != {"keras_calib"}:
        sys.exit(f"the wheel holds more than the package: {top}")
    for end in ("keras_calib/py.typed", "/licenses/LICENSE"):
        if not any(name.endswith(end) for name in packed):
            sys.exit(f"the wheel lacks {end}")
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True)
    missing = set(tracked.stdout.split()) - source - {".gitignore"}
    if missing:
        sys.exit(f"the sdist lacks {sorted(missing)}")
    with tempfile.TemporaryDirectory() as site:
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps"]
        subprocess.run([*pip, "--target", site, str(wheel)], check=True)
        code = (
            f"import sys; sys.path.insert(0, {site!r}); import keras_calib; "
            "print(keras_calib.__file__, float(keras_calib.GammaCE(0.1).gamma))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=site,
        )
    if not done.stdout.startswith(site) or not done.stdout.endswith(" 0.1\n"):
        sys.exit(f"another package was imported: {done.stdout}")
    print(f"{wheel.name} and {sdist.name} are whole")


if __name__ == "__main__":
    main(sys.argv[1])
