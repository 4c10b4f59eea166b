"""An exported model answers as the model does; a model that cannot be served raises."""

import json
import os
import pathlib
import stat
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_calib
from keras_calib.calibrators.methods import METHODS
from keras_calib.serving import export, verify
from keras_calib.serving.examples import encode
from tests.backends import tensorflow_only
from tests.serving.tools import IMAGES, NAMES, assert_answers, labels, network

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = tensorflow_only


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    folder = export(model, tmp_path_factory.mktemp("served"), class_names=NAMES)
    return tf.saved_model.load(folder).signatures


def ask(folder, signature="serving_default", **inputs):
    served = tf.saved_model.load(folder).signatures[signature]
    answer = served(**{name: tf.constant(value) for name, value in inputs.items()})
    return {key: value.numpy() for key, value in answer.items()}


# What is served.


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


# What is refused.


class Through(keras.layers.Layer):
    """A layer that calls a function."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def python(x):
    return tf.ensure_shape(tf.py_function(lambda a: a, [x], x.dtype), x.shape)


BROKEN = {
    "runs Python": python,
    "runs Python: a server": lambda x: tf.ensure_shape(
        tf.numpy_function(lambda a: a, [x], x.dtype), x.shape
    ),
    "must be compiled by XLA": tf.function(lambda x: x * 1.0, jit_compile=True),
}


def then(function):
    x = keras.Input((4,), name="x")
    y = Through(function)(x)
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(y))


class DropoutLeftOn(keras.layers.Dropout):
    def call(self, x, training=None):
        return super().call(x, training=True)


def with_dropout(layer, **kwargs):
    x = keras.Input((4,), name="x")
    y = keras.layers.Dense(3, activation="softmax")(layer(0.5)(x, **kwargs))
    return keras.Model(x, y)


@pytest.mark.parametrize("reason", BROKEN)
def test_what_a_server_refuses_is_refused_here(tmp_path, reason):
    with pytest.raises(ValueError, match=reason):
        export(then(BROKEN[reason]), tmp_path / "new")
    assert not list(tmp_path.iterdir()), "it left files behind"


@pytest.mark.parametrize(
    "model",
    [
        lambda: with_dropout(DropoutLeftOn),
        lambda: then(lambda x: x + tf.random.normal(tf.shape(x))),
    ],
)
def test_random_models_are_refused(tmp_path, model):
    with pytest.raises(ValueError, match="dropout or noise is left on"):
        export(model(), tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_dropout_that_a_functional_model_leaves_on_is_switched_off(tmp_path):
    model = with_dropout(keras.layers.Dropout, training=True)
    x = IMAGES.ravel()[:20].reshape(5, 4)
    folder = export(model, tmp_path)
    assert_answers(ask(folder, x=x), np.asarray(model(x, training=False)))


def test_a_function_that_differs_from_the_model_is_refused(tmp_path):
    calls = []

    def drifting(x):  # each trace gives another function
        calls.append(x)
        return x + float(len(calls))

    with pytest.raises(ValueError, match="differs from the model by more than"):
        export(then(drifting), tmp_path)
    assert not list(tmp_path.iterdir())


def test_logits_mistaken_for_probabilities_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="from_logits=True"):
        export(model, tmp_path)


def test_nan_is_refused(tmp_path):
    model = then(lambda x: tf.math.log(-tf.abs(x)))
    with pytest.raises(ValueError, match="typical `inputs`"):
        export(model, tmp_path)


def subclassed():
    class Model(keras.Model):
        def call(self, x):
            return x

    return Model()


def functional(function, *shapes, batch_size=None):
    inputs = [keras.Input(shape, batch_size=batch_size) for shape in shapes]
    return keras.Model(inputs, function(*inputs))


def named(name):
    x = keras.Input((3,), name=name)
    return keras.Model(x, x)


UNFIT = {
    "letters, digits and underscores": lambda: named("my-input"),
    "letters, .* Received: \\['class'\\]": lambda: named("class"),
    "letters, .* Received: \\['é'\\]": lambda: named("é"),
    "must have inputs": subclassed,
    "one output": lambda: functional(lambda x: [x, x], (3,)),
    "free batch axis": lambda: functional(lambda x: x, (3,), batch_size=2),
    "output of shape \\(\\)": lambda: functional(lambda x: keras.ops.mean(x), (3,)),
    "output of shape \\(None,\\)": lambda: functional(
        lambda x: keras.ops.mean(x, -1), (3,)
    ),
    "output of shape \\(3,\\)": lambda: functional(
        lambda x: keras.ops.mean(x, 0), (3,)
    ),
    "output of shape \\(None, None\\)": lambda: functional(lambda x: x, (None,)),
}


@pytest.mark.parametrize("reason", UNFIT)
def test_models_that_cannot_be_served_are_refused(tmp_path, reason):
    with pytest.raises(ValueError, match=reason):
        export(UNFIT[reason](), tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "kwargs, reason",
    [
        ({"class_names": ["a"]}, "must be 5 distinct names"),
        ({"class_names": ["a"] * 5}, "must be 5 distinct names"),
        ({"class_names": "abcde"}, "must be 5 distinct names, a list of strings"),
        ({"class_names": range(5)}, "must be 5 distinct names, a list of strings"),
        *(({"version": v}, "whole number") for v in (0, -1, "1", 1.5, 1.0, True)),
        ({"version": 2**63}, "whole number in"),
        ({"version": 2**70}, "whole number in"),
        ({"inputs": [IMAGES, IMAGES]}, "each of the model's 1 inputs. Received: 2"),
        ({"inputs": IMAGES[:, :5]}, "must have shape"),
        ({"inputs": IMAGES[:0]}, "must have at least one row"),
        ({"inputs": 3.0}, "must have shape"),
        ({"inputs": np.full(IMAGES.shape, "text")}, "'image' must be float32"),
    ],
)
def test_wrong_arguments(model, tmp_path, kwargs, reason, monkeypatch):
    """They are found before any work."""
    monkeypatch.setattr("keras_calib.serving.record.Record.of", pytest.fail)
    with pytest.raises(ValueError, match=reason):
        export(model, tmp_path, **kwargs)
    assert not list(tmp_path.iterdir())


def test_inputs_have_as_many_rows(tmp_path):
    model = functional(lambda a, b: keras.ops.softmax(a + b), (3,), (3,))
    with pytest.raises(ValueError, match="the same number of rows.*input_1.: 4.*: 5"):
        export(model, tmp_path, inputs=[np.ones((4, 3)), np.ones((5, 3))])


@pytest.mark.parametrize("path", [None, 3, ["models"]])
def test_what_is_no_path(model, path):
    with pytest.raises(TypeError):
        export(model, path)


@pytest.mark.parametrize("path", ["gs://bucket/model", b"s3://bucket/model", ""])
def test_a_remote_folder_is_refused(model, path):
    with pytest.raises(ValueError, match="on this machine"):
        export(model, path)


@pytest.mark.parametrize("taken", ["base", "file", "version"])
def test_what_is_taken_is_found_before_any_work(model, tmp_path, taken, monkeypatch):
    monkeypatch.setattr("keras_calib.serving.record.Record.of", pytest.fail)
    if taken == "version":
        (tmp_path / "3").touch()
    else:
        (tmp_path / "file").touch()
    before = os.listdir(tmp_path)
    path = {"base": "file", "file": "file/under/it", "version": ""}[taken]
    with pytest.raises(OSError):
        export(model, tmp_path / path, version=3)
    assert os.listdir(tmp_path) == before


@pytest.mark.parametrize("kind", [os.fsencode, os.fspath, pathlib.Path])
def test_any_kind_of_path(model, tmp_path, kind):
    folder = export(model, kind(tmp_path / "é"), version=3)
    assert folder == tmp_path / "é" / "3"
    assert verify(kind(folder))["label"] == 0


def test_other_classes_than_before_are_said(model, tmp_path):
    """A client that knows a class by its number would take it for another."""
    export(model, tmp_path, class_names=NAMES)
    with pytest.warns(UserWarning, match="(?s)order, differ from .*1, whose.*eel.*ant"):
        export(model, tmp_path, class_names=NAMES[::-1])


DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "string"),
]


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


# The signatures from one version to the next.


def one_input(name=None, width=3, num_classes=3):
    x = keras.Input((width,), name=name)
    return keras.Model(x, keras.layers.Dense(num_classes, activation="softmax")(x))


def test_a_model_without_names_is_served_under_the_same_name(tmp_path, recwarn):
    export(one_input(), tmp_path)
    one_input().save(tmp_path / "model.keras")
    export(keras.saving.load_model(tmp_path / "model.keras"), tmp_path)
    export(keras.Sequential([keras.Input((3,)), one_input()]), tmp_path)
    for version in "123":
        assert ask(tmp_path / version, input=np.ones((2, 3), "float32"))
    assert not [w for w in recwarn if "signatures" in str(w.message)]


@pytest.mark.parametrize(
    "other, said",
    [
        (lambda: one_input("y"), "input y of logits: float32 \\(None, 3\\)"),
        (lambda: one_input("x", 4), "input x of logits: float32 \\(None, 4\\)"),
        (lambda: of_dtype("int32")[0], "input x of serving_default: int32"),
        (
            lambda: one_input("x", 3, 2),
            "output probabilities of serving_default: float32",
        ),
    ],
    ids=["name", "width", "dtype", "classes"],
)
def test_other_signatures_than_the_version_before_are_said(tmp_path, other, said):
    export(one_input("x"), tmp_path)
    with pytest.warns(
        UserWarning, match=f"(?s)differ from .*1, so its.*{said}"
    ) as found:
        export(other(), tmp_path)
    assert found[0].filename == __file__
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


def test_other_signatures_can_be_refused(tmp_path):
    export(one_input("x"), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(UserWarning, match="differ"):
            export(one_input("y"), tmp_path)
        assert os.listdir(tmp_path) == ["1"]
        (tmp_path / "5").mkdir()  # it holds no SavedModel
        export(one_input("y"), tmp_path)
        export(one_input("x"), tmp_path, version=3)
    assert sorted(os.listdir(tmp_path)) == ["1", "3", "5", "6"]


# The folder.


def test_versions_count_up_or_are_given(model, tmp_path):
    (tmp_path / "notes").mkdir()
    assert export(model, tmp_path) == tmp_path / "1"
    assert export(model, str(tmp_path), version=7) == tmp_path / "7"
    with pytest.raises(FileExistsError, match="This version exists"):
        export(model, tmp_path, version=7)
    assert export(model, tmp_path).name == "8"
    assert sorted(os.listdir(tmp_path)) == ["1", "7", "8", "notes"]


def test_requests_of_a_wrong_shape_are_refused_before_a_kernel_sees_them(served):
    """A convolution of the wrong rank would crash the server."""
    for x in (IMAGES[0], IMAGES[:, :5], IMAGES[..., :1]):
        with pytest.raises((TypeError, tf.errors.InvalidArgumentError)):
            served["serving_default"](image=tf.constant(x))


def test_every_user_may_read_it(model, tmp_path):
    before = os.umask(0o077)
    try:
        folder = export(model, tmp_path)
    finally:
        os.umask(before)
    for path in [folder, *folder.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o755 if path.is_dir() else 0o644), path


def test_a_path_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        export(model, tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
def test_a_folder_where_nobody_may_write(model):
    with pytest.raises(OSError):
        export(model, "/proc/served/model")


def test_on_another_backend_it_says_what_to_do(model, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="KERAS_BACKEND"):
        export(model, tmp_path)


def test_the_model_is_not_changed(model, tmp_path):
    before = [np.array(w) for w in model.get_weights()]
    export(model, pathlib.Path(tmp_path))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
