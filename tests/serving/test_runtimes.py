"""The SavedModel gives the same answers in C++, without Keras and in other runtimes."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.backends import tensorflow_only
from tests.serving.tools import (
    IMAGES,
    assert_answers,
    by_litert,
    by_onnx_runtime,
    by_openvino,
    expected,
    parsed,
)

pytestmark = [pytest.mark.slow, tensorflow_only]


@pytest.mark.parametrize("batch", [1, 2, 33])
def test_the_cpp_loader_gives_the_same_probabilities(
    program, published, probabilities, batch
):
    x = IMAGES[:batch]
    done = subprocess.run(
        [program, published, "serving_default", "image", *map(str, x.shape)],
        input=x.tobytes(),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    outputs = parsed(done.stdout.decode())
    outputs["probabilities"] = outputs["probabilities"].reshape(batch, -1)
    assert_answers(outputs, probabilities[:batch])


def test_the_cpp_loader_knows_every_op(program, published):
    assert subprocess.run([program, published], capture_output=True).returncode == 0


def test_the_cpp_loader_refuses_wrong_shapes(program, published):
    x = IMAGES[:1, :, :3]
    done = subprocess.run(
        [program, published, "serving_default", "image", *map(str, x.shape)],
        input=x.tobytes(),
        capture_output=True,
    )
    assert done.returncode == 5
    assert done.stdout == b""


def test_saved_model_cli(published, probabilities, tmp_path):
    cli = shutil.which("saved_model_cli", path=os.path.dirname(sys.executable))
    if cli is None:
        pytest.skip("saved_model_cli is not installed beside this Python")
    which = [*("--dir", str(published)), *("--tag_set", "serve")]
    which += ["--signature_def", "serving_default"]
    shown = subprocess.run([cli, "show", *which], capture_output=True, text=True)
    assert "shape: (-1, 5)" in shown.stdout
    np.save(tmp_path / "x.npy", IMAGES)
    done = subprocess.run(
        [
            *(cli, "run", *which, "--inputs", f"image={tmp_path / 'x.npy'}"),
            *("--outdir", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names = ("probabilities", "confidence", "label", "entropy")
    assert_answers({n: np.load(tmp_path / f"{n}.npy") for n in names}, probabilities)


WITHOUT_KERAS = """
import sys
for name in ("keras", "tf_keras", "keras_calib"):
    sys.modules[name] = None
import numpy as np
import tensorflow as tf
path, x, out = sys.argv[1:]
served = tf.saved_model.load(path).signatures["serving_default"]
np.savez(out, **{k: v.numpy() for k, v in served(image=np.load(x)).items()})
try:
    import keras
except ImportError:
    print("no Keras")
"""


def test_a_process_that_cannot_import_keras(published, probabilities, tmp_path):
    x, out = tmp_path / "x.npy", tmp_path / "out.npz"
    np.save(x, IMAGES)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_KERAS, published, x, out],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == "no Keras", done.stderr[-2000:]
    assert_answers(dict(np.load(out)), probabilities)


def test_openvino(published, probabilities):
    outputs = by_openvino(published, expected(probabilities), image=IMAGES)
    assert_answers(outputs, probabilities)


def test_litert(published, probabilities):
    assert_answers(by_litert(published, image=IMAGES), probabilities)


def test_onnx_runtime(published, probabilities, tmp_path):
    outputs = by_onnx_runtime(published, tmp_path / "model.onnx", image=IMAGES)
    assert_answers(outputs, probabilities)
