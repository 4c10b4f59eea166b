"""Small models to serve, the answers to expect from them, and other runtimes."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

NAMES = ["ant", "bee", "cat", "dog", "eel"]


def images():
    return np.random.default_rng(0).normal(size=(33, 6, 6, 2)).astype("float32")


IMAGES = images()


def network(num_classes=5, temperature=1.7, **kwargs):
    """Returns a convolutional net with layers that behave differently in training.

    Its softmax has a temperature other than 1.
    """
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 2), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(num_classes, name="raw")(x)
    x = keras.layers.Rescaling(1 / temperature)(x)
    last = "sigmoid" if num_classes == 1 else "softmax"
    return keras.Model(image, keras.layers.Activation(last, **kwargs)(x))


def expected(p):
    """Returns what `serving_default` should answer for probabilities (..., K)."""
    p = np.asarray(p, "float64")
    return {
        "probabilities": p,
        "confidence": p.max(-1),
        "label": p.argmax(-1),
        "entropy": -(p * np.log(np.where(p, p, 1.0))).sum(-1),
    }


def assert_answers(answer, p, tolerance=1e-6):
    """Compares an answer of `serving_default` with probabilities."""
    wanted = expected(p)
    assert set(answer) == set(wanted)
    for key, value in wanted.items():
        np.testing.assert_allclose(
            np.asarray(answer[key], "float64"),
            value,
            rtol=0,
            atol=tolerance,
            err_msg=key,
        )


def labels(model):
    """Returns labels of `IMAGES`; the model predicts two in three of them."""
    found = np.asarray(model(IMAGES)).argmax(-1)
    found[::3] = (found[::3] + 1) % 5
    return found


def ask(folder, signature="serving_default", **inputs):
    """Returns the answer of an exported version in numpy."""
    import tensorflow as tf

    served = tf.saved_model.load(folder).signatures[signature]
    answer = served(**{name: tf.constant(value) for name, value in inputs.items()})
    return {key: value.numpy() for key, value in answer.items()}


def of_dtype(dtype):
    """Returns a model of one input, and a batch for it."""
    x = keras.Input((3,), dtype=dtype, name="x")
    if dtype == "string":
        lookup = keras.layers.StringLookup(vocabulary=["a"], output_mode="multi_hot")
        y, rows = lookup(x), np.array([["a", "é", ""], ["b", "a\0b", "a"]])
    else:
        rows = np.array([[0, 1, 1], [1, 0, 1]], "float32").astype(dtype, copy=False)
        if dtype not in ("bool", "bfloat16"):
            rows = np.array([[0, 1, 100], [7, 0, 3]], dtype)
        y = 0.01 * keras.ops.cast(x, "float32")
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(y)), rows


def parsed(lines):
    """Returns outputs by name from the C++ program's lines "name value value ..."."""
    rows = (line.split() for line in lines.splitlines())
    return {name: np.array(values, "float64") for name, *values in rows}


def by_litert(folder, **inputs):
    """Returns what LiteRT, the new name of TFLite, answers; it converts the model."""
    interpreter = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="needs ai-edge-litert"
    )
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder), signature_keys=["serving_default"]
    )
    model = interpreter.Interpreter(model_content=converter.convert())
    return model.get_signature_runner("serving_default")(**inputs)


def by_openvino(folder, names, **inputs):
    """Returns what OpenVINO answers, which shares no kernel with TensorFlow."""
    openvino = pytest.importorskip("openvino", reason="needs openvino")
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(folder), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    found = {}
    for output, value in compiled(inputs).items():
        (name,) = {n.partition(":")[0] for n in output.names} & set(names)
        found[name] = value
    return found


def by_onnx_runtime(folder, file, **inputs):
    """Returns what ONNX Runtime answers; tf2onnx converts the model into a file."""
    pytest.importorskip("tf2onnx", reason="needs tf2onnx")
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tf2onnx.convert", "--saved-model", folder),
            *("--signature_def", "serving_default", "--output", file),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    session = runtime.InferenceSession(file)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))
