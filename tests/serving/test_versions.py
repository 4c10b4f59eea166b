"""The folder of a model, and what changes from one version to the next."""

import os
import stat
import warnings

import keras
import numpy as np
import pytest

from keras_calib.serving import export
from tests.backends import tensorflow_only
from tests.serving.tools import NAMES, ask, of_dtype

pytestmark = tensorflow_only


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


def test_versions_count_up_or_are_given(model, tmp_path):
    (tmp_path / "notes").mkdir()
    assert export(model, tmp_path) == tmp_path / "1"
    assert export(model, str(tmp_path), version=7) == tmp_path / "7"
    with pytest.raises(FileExistsError, match="This version exists"):
        export(model, tmp_path, version=7)
    assert export(model, tmp_path).name == "8"
    assert sorted(os.listdir(tmp_path)) == ["1", "7", "8", "notes"]


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


def test_other_classes_than_before_are_said(model, tmp_path):
    """A client that knows a class by its number would take it for another."""
    export(model, tmp_path, class_names=NAMES)
    with pytest.warns(UserWarning, match="(?s)order, differ from .*1, whose.*eel.*ant"):
        export(model, tmp_path, class_names=NAMES[::-1])
