"""An exported model answers as the model does."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_calib
from keras_calib.calibrators.methods import METHODS
from keras_calib.serving import export
from keras_calib.serving.examples import encode
from tests.backends import tensorflow_only
from tests.serving.tools import (
    IMAGES,
    NAMES,
    ask,
    assert_answers,
    labels,
    network,
    of_dtype,
)

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = tensorflow_only


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    folder = export(model, tmp_path_factory.mktemp("served"), class_names=NAMES)
    return tf.saved_model.load(folder).signatures


@pytest.mark.parametrize("batch", [1, 2, 33])
def test_the_default_signature_is_the_model(model, served, batch):
    x = IMAGES[:batch]
    answer = served["serving_default"](image=tf.constant(x))
    assert_answers(answer, model.predict_on_batch(x))
    assert {k: v.dtype.name for k, v in answer.items()} == {
        "probabilities": "float32",
        "confidence": "float32",
        "label": "int64",
        "entropy": "float32",
    }


def test_logits_are_those_of_the_models_softmax(model, served):
    answer = served["logits"](image=tf.constant(IMAGES))
    before = keras.Model(model.input, model.layers[-2].output)
    np.testing.assert_allclose(
        answer["logits"], before.predict_on_batch(IMAGES), atol=1e-6
    )


def test_classify_names_the_classes_the_likeliest_first(model, served):
    p = model.predict_on_batch(IMAGES)
    answer = served["classify"](inputs=tf.constant(encode({"image": IMAGES})))
    order = np.argsort(-p, axis=-1)
    assert (answer["classes"].numpy() == np.array(NAMES, "S")[order]).all()
    np.testing.assert_allclose(answer["scores"], -np.sort(-p, -1), atol=1e-6)


def test_regress_gives_the_confidence(model, served):
    answer = served["regress"](inputs=tf.constant(encode({"image": IMAGES})))
    p = model.predict_on_batch(IMAGES)
    np.testing.assert_allclose(answer["outputs"], p.max(-1), atol=1e-6)


def test_classes_are_numbered_without_names(tmp_path):
    folder = export(network(3), tmp_path)
    answer = ask(folder, "classify", inputs=encode({"image": IMAGES[:1]}))
    assert set(answer["classes"][0]) == {b"0", b"1", b"2"}


def test_a_model_of_logits(tmp_path):
    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(3, kernel_initializer="ones")(x * 5.0))
    folder = export(model, tmp_path, from_logits=True)
    inputs = IMAGES.ravel()[:80].reshape(20, 4)
    z = model.predict_on_batch(inputs)
    assert_answers(ask(folder, x=inputs), keras.ops.softmax(z))
    np.testing.assert_array_equal(ask(folder, "logits", x=inputs)["logits"], z)


@pytest.mark.parametrize("from_logits", [False, True])
def test_one_output_unit_is_served_as_two_classes(tmp_path, from_logits):
    model = network(1)
    if from_logits:
        model = keras.Model(model.input, model.layers[-2].output)
    folder = export(model, tmp_path, class_names=["no", "yes"], from_logits=from_logits)
    p = model.predict_on_batch(IMAGES)
    p = np.asarray(keras.ops.sigmoid(p)) if from_logits else p
    both = np.concatenate([1 - p, p], -1)
    assert_answers(ask(folder, image=IMAGES), both)
    z = ask(folder, "logits", image=IMAGES)["logits"]
    np.testing.assert_allclose(keras.ops.softmax(z), both, atol=1e-6)


def test_probabilities_of_exactly_zero_keep_everything_finite(tmp_path):
    x = keras.Input((3,), name="x")
    model = keras.Model(x, keras.layers.Maximum()([x, keras.ops.zeros_like(x)]))
    rows = np.eye(3, dtype="float32")
    folder = export(model, tmp_path, inputs=rows)
    assert (ask(folder, x=rows)["entropy"] == 0).all()
    z = ask(folder, "logits", x=rows)["logits"]
    assert np.isfinite(z).all()
    np.testing.assert_array_equal(keras.ops.softmax(z), rows)


def test_any_number_of_pixels(tmp_path):
    image = keras.Input((None, None, 3), name="image")
    model = keras.Model(image, keras.layers.Conv2D(4, 1, activation="softmax")(image))
    folder = export(model, tmp_path)
    assert set(tf.saved_model.load(folder).signatures) == {"serving_default", "logits"}
    x = np.ones((2, 5, 7, 3), "float32")
    answer = ask(folder, image=x)
    assert answer["label"].shape == (2, 5, 7)
    assert_answers(answer, model.predict_on_batch(x))


@pytest.mark.slow
def test_a_model_compiled_for_xla_is_served_without(tmp_path):
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
    model.fit(IMAGES, np.zeros(len(IMAGES)), batch_size=33, verbose=0)
    folder = export(model, tmp_path)
    assert_answers(ask(folder, image=IMAGES), np.asarray(model(IMAGES)))


def test_a_calibrated_model_that_was_saved_and_loaded(tmp_path):
    model = network()
    calibrated = keras_calib.calibrate(model, IMAGES, labels(model), verbose=0)
    calibrated.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    folder = export(loaded, tmp_path / "served")
    p = np.asarray(calibrated(IMAGES))
    assert_answers(ask(folder, image=IMAGES), p)
    z = ask(folder, "logits", image=IMAGES)["logits"]
    np.testing.assert_allclose(keras.ops.softmax(z), p, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_calibrator_can_be_served(tmp_path, method):
    model = network()
    calibrated = keras_calib.calibrate(
        model, IMAGES, labels(model), method=method, verbose=0
    )
    folder = export(calibrated, tmp_path)
    assert_answers(ask(folder, image=IMAGES), calibrated.predict_on_batch(IMAGES))


def test_several_inputs_of_several_types(tmp_path):
    """They are named, wherever they are in the structure of the model's inputs."""
    word = keras.Input((), dtype="string", name="word")
    token = keras.Input((3,), dtype="int32", name="token")
    size = keras.Input((2,), name="size")
    vocabulary = keras.layers.StringLookup(vocabulary=["a", "b"])
    x = keras.layers.Concatenate()(
        [
            keras.layers.Embedding(3, 2)(vocabulary(word)),
            keras.layers.Flatten()(keras.layers.Embedding(9, 2)(token)),
            size,
        ]
    )
    p = keras.layers.Dense(3, activation="softmax")(x)
    model = keras.Model({"word": word, "rest": [token, size]}, {"p": p})
    inputs = {
        "word": np.array([b"a", b"b", b"zebra"]),
        "token": np.array([[1, 2, 3], [4, 5, 6], [8, 0, 8]], "int32"),
        "size": np.ones((3, 2), "float32"),
    }
    given = {"word": inputs["word"], "rest": [inputs["token"], inputs["size"]]}
    given = keras.tree.map_structure(tf.constant, given)
    folder = export(model, tmp_path, inputs=given)
    p = np.asarray(model(given)["p"])
    assert_answers(ask(folder, **inputs), p)
    answer = ask(folder, "classify", inputs=encode(inputs))
    np.testing.assert_allclose(answer["scores"], -np.sort(-p, -1), atol=1e-6)


@pytest.mark.parametrize(
    "policy, head",
    [
        ("mixed_bfloat16", "half"),
        pytest.param("mixed_bfloat16", "float32", marks=pytest.mark.slow),
        pytest.param("mixed_float16", "half", marks=pytest.mark.slow),
        pytest.param("bfloat16", "half", marks=pytest.mark.slow),
    ],
)
def test_half_precision_is_served_in_float32(tmp_path, policy, head):
    keras.config.set_dtype_policy(policy)
    try:
        model = network(dtype=None if head == "half" else "float32")
    finally:
        keras.config.set_dtype_policy("float32")
    folder = export(model, tmp_path)
    answer = ask(folder, image=IMAGES)
    assert {v.dtype.name for v in answer.values()} == {"float32", "int64"}
    p = tf.cast(model.predict_on_batch(IMAGES), "float64").numpy()
    np.testing.assert_allclose(answer["probabilities"], p, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_model_trained_on_replicas_and_calibrated(tmp_path, policy):
    done = subprocess.run(
        [sys.executable, "-m", "tests.serving.mirrored", policy, tmp_path],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["replicas"] == 2
    assert result["dtypes"] == ["float32", "int64"]
    assert result["temperature"] != 1
    assert result["difference"] < 1e-6


DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "string"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("given", [False, True])
def test_every_dtype_of_an_input(tmp_path, dtype, given):
    model, rows = of_dtype(dtype)
    folder = export(model, tmp_path, inputs=rows if given else None)
    served = {"float16": "float32", "bfloat16": "float32"}.get(dtype, dtype)
    signature = tf.saved_model.load(folder).signatures["serving_default"]
    assert signature.structured_input_signature[1]["x"].dtype == served
    p = np.asarray(model(tf.constant(rows)))
    x = tf.constant(rows) if dtype == "string" else tf.cast(rows, served)
    assert_answers(ask(folder, x=x), p)
    text = x.numpy()
    answer = ask(folder, "classify", inputs=encode({"x": text}))
    np.testing.assert_allclose(answer["scores"], -np.sort(-p, -1), atol=1e-6)


def test_a_complex_input_has_no_tf_example(tmp_path):
    x = keras.Input((3,), dtype="complex64", name="x")
    model = keras.Model(x, keras.layers.Softmax()(keras.ops.real(x)))
    folder = export(model, tmp_path)
    assert set(tf.saved_model.load(folder).signatures) == {"serving_default", "logits"}


def test_requests_of_a_wrong_shape_are_refused_before_a_kernel_sees_them(served):
    """A convolution of the wrong rank would crash the server."""
    for x in (IMAGES[0], IMAGES[:, :5], IMAGES[..., :1]):
        with pytest.raises((TypeError, tf.errors.InvalidArgumentError)):
            served["serving_default"](image=tf.constant(x))


def test_on_another_backend_it_says_what_to_do(model, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="KERAS_BACKEND"):
        export(model, tmp_path)


def test_the_model_is_not_changed(model, tmp_path):
    before = [np.array(w) for w in model.get_weights()]
    export(model, pathlib.Path(tmp_path))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
