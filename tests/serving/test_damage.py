"""A damaged version raises what `verify` documents, and a crafted one runs no code."""

import os
import shutil
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_calib.serving import export, reload, verify
from keras_calib.serving.inspection import interface, problems
from keras_calib.serving.record import Record
from tests.backends import tensorflow_only
from tests.serving.tools import IMAGES, NAMES, network

pytestmark = tensorflow_only
VERIFY = sys.modules[verify.__module__]
SIGNATURES = ["serving_default", "logits", "classify", "regress"]


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return export(network(), tmp_path_factory.mktemp("whole"), class_names=NAMES)


@pytest.fixture
def folder(version, tmp_path):
    return shutil.copytree(version, tmp_path / "1")


def record_of(folder):
    return folder / "assets.extra" / "keras_calib.npz"


def change(folder, **fields):
    """Writes the record again with other fields; `None` leaves one out."""
    with np.load(record_of(folder)) as kept:
        fields = dict(kept) | {k.replace("__", "/"): v for k, v in fields.items()}
    kept = {key: value for key, value in fields.items() if value is not None}
    np.savez(record_of(folder), **kept)


def strange(shape):
    """Returns values that a field may be changed to."""
    return {
        "absent": None,
        "text": np.array("text"),
        "texts": np.array(["a", "b"]),
        "bytes": np.array([b"\xff"]),
        "nothing": np.zeros(0),
        "no rows": np.zeros((0, 5)),
        "no classes": np.zeros((8, 0)),
        "a number": np.array(3.0),
        "NaN": np.array(np.nan),
        "infinity": np.array(np.inf),
        "a negative number": np.array(-1.0),
        "complex": np.ones(shape, "complex64"),
        "too few rows": np.ones((7, *shape[1:])),
        "one row": np.ones((1, *shape[1:])),
        "another rank": np.ones((*shape, 1)),
        "another width": np.ones((*shape[:-1], shape[-1] + 1)),
        "all NaN": np.full(shape, np.nan),
        "dates": np.zeros(shape, "datetime64[s]"),
        "fields": np.zeros(shape, [("a", "f8"), ("b", "i4")]),
        "code points that do not exist": np.full(5, 2**21, "uint32").view("<U1"),
    }


FIELDS = {
    "output": (8, 5),
    "from_logits": (),
    "class_names": (5,),
    "signatures": (4,),
    "tolerance": (),
    "inputs__image": (8, 6, 6, 2),
}


@pytest.fixture
def in_this_process(monkeypatch):
    """Answers without a new process, for speed; its errors are those of a new one."""

    def answers(path, record):
        try:
            return reload.run(path, record.requests())
        except Exception as error:
            raise RuntimeError("does not run") from error

    monkeypatch.setattr(VERIFY, "_answers", answers)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_the_record_is_checked(folder, field, in_this_process):
    whole = record_of(folder).read_bytes()
    for what, value in strange(FIELDS[field] or (1,)).items():
        record_of(folder).write_bytes(whole)
        change(folder, **{field: value})
        try:
            verify(folder)
        except (ValueError, RuntimeError) as error:
            assert type(error) in (ValueError, RuntimeError), what
        else:
            pytest.fail(f"{field}: {what} was not found")
    record_of(folder).write_bytes(whole)
    verify(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"from_logits": np.array(True)},
        {"class_names": np.array(NAMES[::-1])},
        {"class_names": np.array([*NAMES[:4], NAMES[0]])},
        {"signatures": np.array(SIGNATURES[:2])},
        {"signatures": np.array(SIGNATURES[::-1])},
        {"signatures": np.array([])},
        {"tolerance": np.array(1.0)},
        {"output": np.full((8, 5), 0.2)},
        {"output": np.eye(8, 5)},
        {"output": np.ones((8, 5), "float32")},
        {"inputs__image": np.zeros((8, 6, 6, 2), "float32")},
        {"inputs__image": np.zeros((8, 6, 6, 2), "float64")},
        {"inputs__image": None, "inputs__other": IMAGES[:8]},
        {"inputs__image": None, "inputs__a__b": IMAGES[:8]},
        {"inputs__other": IMAGES[:8]},
        {"inputs__image": None, "image": IMAGES[:8]},
    ],
    ids=lambda fields: " ".join(fields),
)
def test_a_record_that_is_whole_and_wrong(folder, fields, in_this_process):
    if "signatures" in fields and len(fields["signatures"]) == 2:
        # As for a model of pixels: what is there is right.
        change(folder, **fields)
        assert set(verify(folder)) == {
            *("probabilities", "confidence", "label", "entropy", "logits")
        }
        return
    change(folder, **fields)
    with pytest.raises((ValueError, RuntimeError)):
        verify(folder)


def test_damage_to_the_record_is_found_or_harmless(folder):
    whole, kept = record_of(folder).read_bytes(), Record.read(folder)
    rng = np.random.default_rng(0)
    for k in range(600):
        content = np.frombuffer(whole, "uint8").copy()
        if k % 3:
            content[rng.integers(0, len(whole), k % 3)] = rng.integers(0, 256)
        else:
            content = content[: rng.integers(0, len(whole))]
        record_of(folder).write_bytes(content.tobytes())
        try:
            read = Record.read(folder)
        except ValueError:
            continue
        np.testing.assert_array_equal(read.output, kept.output)
        np.testing.assert_array_equal(read.inputs["image"], kept.inputs["image"])
        assert read[2:] == kept[2:]


def test_damage_to_the_graph_is_a_value_error(folder):
    file = folder / "saved_model.pb"
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for k in range(150):
        content = np.frombuffer(whole, "uint8").copy()
        if k % 3:
            content[rng.integers(0, len(whole), k % 3)] = rng.integers(0, 256)
        else:
            content = content[: rng.integers(0, len(whole))]
        file.write_bytes(content.tobytes())
        for read in (problems, interface):
            try:
                read(folder)
            except ValueError:
                pass
    for content in (b"", b"\0", b"text"):
        file.write_bytes(content)
        with pytest.raises((ValueError, RuntimeError)):
            verify(folder)
    file.unlink()
    with pytest.raises(ValueError, match="holds no SavedModel"):
        verify(folder)


def test_a_dtype_that_does_not_exist(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    default = model.meta_graphs[0].signature_def["serving_default"]
    default.outputs["label"].dtype = 999
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="damaged"):
        verify(folder)


# What a process may answer that runs a crafted graph.

SCRIPT = """
import os, pickle, sys, time
import numpy as np

class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)

answers = dict(np.load({answers!r}))
{line}
np.savez(sys.stdout.buffer, **answers)
"""

CRAFTED = {
    "a pickle": "sys.stdout.buffer.write(pickle.dumps(Bomb())); sys.exit()",
    "objects": "answers['label'] = np.array([Bomb()], dtype=object)",
    "nothing": "sys.exit()",
    "text": "print('probabilities'); sys.exit()",
    "no label": "del answers['label']",
    "text as a label": "answers['label'] = np.full(8, 'ant')",
    "a label that there is not": "answers['label'][0] = 5",
    "a huge label": "answers['label'][0] = 2**62",
    "a negative label": "answers['label'][0] = -1",
    "labels with a fraction": "answers['label'] = answers['label'] + 0.0",
    "one row": "answers = {k: v[:1] for k, v in answers.items()}",
    "a number": "answers['probabilities'] = answers['probabilities'][0, 0]",
    "complex": "answers['logits'] = answers['logits'] + 0j",
    "names that there are not": "answers['classes'][0, 0] = b'x'",
    "numbers as names": "answers['classes'] = answers['scores']",
    "NaN": "answers['entropy'][0] = np.nan",
    "infinity": "answers['logits'][0] = np.inf",
}


@pytest.fixture(scope="module")
def answers(version, tmp_path_factory):
    """Returns a file with the right answers."""
    file = tmp_path_factory.mktemp("answers") / "answers.npz"
    right = reload.run(version, Record.read(version).requests())
    right["classes"] = right["classes"].astype("S")
    np.savez(file, **right)
    return str(file)


@pytest.fixture
def answering(answers, tmp_path, monkeypatch):
    """Lets a script answer in place of a SavedModel."""

    def use(line):
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(answers=answers, line=line))
        monkeypatch.setattr(reload, "__file__", str(script))
        monkeypatch.chdir(tmp_path)

    return use


def test_right_answers_pass(version, answering):
    answering("")
    assert max(verify(version).values()) < 1e-6


@pytest.mark.parametrize("what", CRAFTED)
def test_crafted_answers_are_a_value_error(version, answering, what):
    answering(CRAFTED[what])
    with pytest.raises(ValueError):
        verify(version)
    assert not os.path.exists("exploded"), "it ran code"


def test_more_answers_than_are_read(version, answering, monkeypatch):
    monkeypatch.setattr("keras_calib.serving.arrays.MOST_BYTES", 10_000)
    answering("answers['more'] = np.zeros(10_000)")
    with pytest.raises(ValueError, match="more than 10000 bytes"):
        verify(version)


@pytest.mark.parametrize(
    "line",
    [
        "sys.exit('a reason')",
        "sys.stderr.write('x' * 10**6 + 'a reason'); sys.exit(3)",
        "sys.stderr.write('a reason'); sys.stderr.flush(); os.kill(os.getpid(), 11)",
    ],
)
def test_a_process_that_fails_says_why(version, answering, line):
    answering(line)
    with pytest.raises(RuntimeError, match="(?s)without Keras.*a reason") as e:
        verify(version)
    assert len(str(e.value)) < 3000


def test_a_process_that_does_not_end(version, answering, monkeypatch):
    monkeypatch.setattr(VERIFY, "_SECONDS", 1.0)
    answering("time.sleep(60)")
    with pytest.raises(RuntimeError, match="timed out after"):
        verify(version)


class Printing(keras.layers.Layer):
    """A layer that prints what a process would run if it unpickled it."""

    def call(self, x):
        text = "cos\nmkdir\n(S'exploded'\ntR."
        with tf.control_dependencies([tf.print(text, output_stream=sys.stdout)]):
            return tf.identity(x)


def test_a_model_that_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(3, activation="softmax")(Printing()(x)))
    assert max(verify(export(model, "printing")).values()) < 1e-6
    assert os.listdir() == ["printing"]


def test_a_file_that_grows_beyond_the_limit(version, monkeypatch):
    monkeypatch.setattr(VERIFY, "MOST_BYTES", 1000)
    with pytest.raises(RuntimeError, match="does not run without Keras"):
        verify(version)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes in folders")
@pytest.mark.parametrize(
    "name", ["saved_model.pb", os.path.join("assets.extra", "keras_calib.npz")]
)
@pytest.mark.parametrize(
    "make", [lambda p: os.mkfifo(p), lambda p: os.symlink("/dev/zero", p)]
)
def test_a_pipe_or_a_device_in_place_of_a_file(folder, name, make):
    """One would wait forever, and the other fill the memory."""
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(ValueError, match="is not a file"):
        verify(folder)
