"""The SavedModel gives the same answers in C++, without Keras and in other runtimes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.backends import tensorflow_only
from tests.serving.tools import IMAGES, assert_answers

pytestmark = [pytest.mark.slow, tensorflow_only]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Builds serve.cc against the libraries in the installed wheel."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++ to build the C++ program with")
    wheel = Path(tf.__file__).parent
    program = tmp_path_factory.mktemp("program") / "serve"
    command = [
        *("g++", "-std=c++17", "-O1", "-w", f"-I{wheel / 'include'}"),
        *(str(Path(__file__).with_name("serve.cc")), "-o", str(program)),
        *(f"-L{wheel}", f"-Wl,-rpath,{wheel}", "-Wl,--no-as-needed"),
        *("-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"),
    ]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    return program


def parsed(lines):
    """Returns outputs by name from the C++ program's lines "name value value ..."."""
    rows = (line.split() for line in lines.splitlines())
    return {name: np.array(values, "float64") for name, *values in rows}


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
    """OpenVINO shares no kernel with TensorFlow."""
    openvino = pytest.importorskip("openvino", reason="needs openvino")
    core = openvino.Core()
    model = core.read_model(published)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = compiled({"image": IMAGES})
    outputs = {}
    for output, value in result.items():
        (name,) = {re.sub(":.*", "", n) for n in output.names} & {
            *("probabilities", "confidence", "label", "entropy")
        }
        outputs[name] = value
    assert_answers(outputs, probabilities, tolerance=1e-6)


def test_litert(published, probabilities):
    """LiteRT is the new name and package of TFLite."""
    interpreter = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="needs ai-edge-litert"
    )
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(published), signature_keys=["serving_default"]
    )
    model = interpreter.Interpreter(model_content=converter.convert())
    outputs = model.get_signature_runner("serving_default")(image=IMAGES)
    assert_answers(outputs, probabilities)


def test_onnx_runtime(published, probabilities, tmp_path):
    pytest.importorskip("tf2onnx", reason="needs tf2onnx")
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    file = tmp_path / "model.onnx"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tf2onnx.convert", "--saved-model", published),
            *("--signature_def", "serving_default", "--output", file),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    session = runtime.InferenceSession(file)
    names = [output.name for output in session.get_outputs()]
    values = session.run(None, {"image": IMAGES})
    assert_answers(dict(zip(names, values, strict=True)), probabilities)
