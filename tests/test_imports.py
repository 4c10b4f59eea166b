"""Which rooms may import each other, and what `import keras_calib` loads."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_calib

PACKAGE = Path(keras_calib.__file__).parent
# Modules that every room may import, and the rooms that each may also import.
GROUND = {"_keras", "activations", "arguments", "docstrings", "types"}
ROOMS = {
    "ops": set(),
    "losses": {"ops"},
    "metrics": {"ops"},
    "layers": {"losses", "metrics", "ops"},
    "calibrators": {"ops", "metrics", "viz"},
    "viz": {"losses", "metrics", "ops"},
    "evaluation": {"calibrators", "metrics", "ops", "viz"},
    "command": {"evaluation", "viz"},
    "serving": {"ops"},
    "callbacks": {"ops", "losses", "metrics", "calibrators", "viz"},
}
# Private attributes that Keras reads or writes on our objects.
PRIVATE = {"_direction", "_keras_history", "_keras_logits", "_keras_mask"}


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            package, *rest = f"{module}{alias.name}".split(".")
            if package == "keras_calib":
                yield rest[0]


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_run_one_way(room):
    for path in (PACKAGE / room).rglob("*.py"):
        allowed = ROOMS[room] | {room} | GROUND
        assert set(imported_rooms(path)) <= allowed, path


def test_every_room_is_guarded():
    assert set(ROOMS) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def private_parts(path):
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module=str(name)) | ast.alias(name=name):
                if name.startswith("keras.src"):
                    yield name
            case ast.Attribute(attr=name) | ast.Constant(value=str(name)):
                if name in PRIVATE:
                    yield name


def test_keras_is_touched_in_private_in_one_file():
    found = {
        str(path.relative_to(PACKAGE)): sorted(parts)
        for path in PACKAGE.rglob("*.py")
        if path.name != "_keras.py" and (parts := set(private_parts(path)))
    }
    assert not found


def test_the_import_is_light():
    """It loads no large package that `import keras` has not loaded."""
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


@pytest.mark.slow
def test_the_import_costs_little():
    """CPU time beyond `import keras`; a busy machine hardly changes it."""
    code = (
        "import time, keras; start = time.process_time(); import keras_calib; "
        "print(time.process_time() - start)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=PACKAGE.parent,
        )
        for _ in range(3)
    ]
    assert min(float(done.stdout) for done in runs) < 0.3


WITHOUT_TENSORFLOW = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_probability"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
import importlib
import pkgutil
import benchmarks
import keras
import keras_calib
import numpy as np
from keras_calib.callbacks import GammaScheduler, linear

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
loss = keras_calib.GammaCE(0.0, from_logits=True)
ece = keras_calib.ExpectedCalibrationError(from_logits=True)
brier = keras_calib.BrierScore(from_logits=True)
model.compile("sgd", loss, metrics=[ece, brier, loss.gamma])
rng = np.random.default_rng(0)
history = model.fit(
    rng.normal(size=(64, 4)).astype("float32"),
    rng.integers(0, 3, 64),
    epochs=3,
    verbose=0,
    callbacks=[GammaScheduler(linear(0.0, 0.5))],
).history
assert history["gamma"] == [0.0, 0.25, 0.5], history
assert np.isfinite([history[name] for name in ("loss", "ece", "brier_score")]).all()

found = {m.name for m in pkgutil.iter_modules(benchmarks.__path__)} - {"__main__"}
assert {"exact", "metrics", "serving"} < found, found
for name in sorted(found):
    try:
        importlib.import_module(f"benchmarks.{name}")
    except ImportError as error:  # of an optional package
        assert error.name in ("optax", "sklearn", "sklearn.calibration"), (name, error)
assert "tensorflow" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)
def test_jax_needs_no_tensorflow():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
