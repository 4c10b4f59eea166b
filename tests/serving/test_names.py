"""Names of inputs are those of every export, and names of classes are text."""

import keras
import numpy as np
import pytest

from keras_calib.serving.names import distinct_names, input_names


def test_inputs_keep_their_own_names():
    inputs = [keras.Input((2,), name="image"), keras.Input((), name="Size_2")]
    assert input_names(inputs) == ["image", "Size_2"]


def test_inputs_without_a_name_have_the_same_one_each_time():
    for _ in range(2):
        assert input_names([keras.Input((2,))]) == ["input"]
        inputs = [keras.Input((2,)), keras.Input((2,), name="x"), keras.Input((2,))]
        assert input_names(inputs) == ["input_1", "x", "input_3"]


def test_a_model_that_is_made_or_loaded_again_has_the_same_names(tmp_path):
    def network():
        inputs = [keras.Input((4,)), keras.Input((4,))]
        return keras.Model(inputs, keras.layers.Add()(inputs))

    built = keras.Sequential([keras.layers.Dense(3)])
    built(np.ones((1, 4), "float32"))
    for model in (
        network(),
        network(),
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
        built,
    ):
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        names = ["input_1", "input_2"] if len(model.inputs) == 2 else ["input"]
        for one in (model, loaded, keras.models.clone_model(model)):
            assert input_names(one.inputs) == names


@pytest.mark.parametrize(
    "names",
    [
        *(["my-input"], ["é"], ["名"], ["_x"], ["2x"], ["x y"], ["a.b"], ["a:0"]),
        *(["class"], ["None"], ["self"]),
        *(["x", "X"], ["input_1", "keras_tensor_7"], ["keras_tensor", "input_1"]),
    ],
)
def test_names_that_no_signature_can_hold(names):
    class Named:
        def __init__(self, name):
            self.name = name

    inputs = [Named(name) for name in names]
    if names == ["input_1", "keras_tensor_7"]:
        assert input_names(inputs) == ["input_1", "input_2"]
        return
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        input_names(inputs)


@pytest.mark.parametrize(
    "names",
    [["a", "b", ""], ("a", "b", "c"), np.array(["a", "b", "c"]), ["ä", "b c", "👩‍🔬"]],
)
def test_class_names_are_kept(names):
    found = distinct_names(names, 3)
    assert found == list(names)
    assert {type(name) for name in found} == {str}


def test_classes_are_numbered_by_default():
    assert distinct_names(None, 3) == ["0", "1", "2"]


@pytest.mark.parametrize(
    "names",
    [
        *([], ["a", "b"], ["a", "b", "c", "d"], ["a", "b", "b"], ["a", "b", "b", "c"]),
        *(["a", "b", 3], ["a", "b", None], ["a", "b", b"c"], [0, 1, 2], range(3)),
        *("abc", b"abc", 3, 1.5, {"a", "b", "c"}, dict.fromkeys("abc"), iter("abc")),
        *(["a", "b", "c\0"], ["a", "b", "\ud800"], [["a"], ["b"], ["c"]]),
        *(np.array([["a", "b", "c"]]), np.array("abc"), np.array([b"a", b"b", b"c"])),
    ],
)
def test_other_class_names_are_refused(names):
    with pytest.raises(ValueError, match="must be 3 distinct names"):
        distinct_names(names, 3)
