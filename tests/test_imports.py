"""What `import keras_calib` brings with it, and which room imports which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import keras_calib

PACKAGE = Path(keras_calib.__file__).parent
# What each room may import of the others.
ROOMS = {
    "ops": set(),
    "losses": {"ops", "config"},
    "metrics": {"ops", "config"},
    "calibrators": {"ops", "config", "metrics"},
    "serving": {"ops", "config"},
    "callbacks": {"ops", "config", "losses", "metrics", "viz", "checks"},
}


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("keras_calib."):
                yield name.split(".")[1]


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_run_one_way(room):
    for path in (PACKAGE / room).rglob("*.py"):
        allowed = ROOMS[room] | {room}
        assert set(imported_rooms(path)) <= allowed, path


def test_the_import_is_light():
    """Nothing heavy beyond what `import keras` loads by itself."""
    code = (
        "import sys, keras; before = set(sys.modules); import keras_calib; "
        "print(*{m.split('.')[0] for m in set(sys.modules) - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    heavy = {"matplotlib", "tensorflow_probability", "tf_keras", "scipy", "sklearn"}
    assert "keras_calib" in done.stdout.split()
    assert not heavy & set(done.stdout.split())
