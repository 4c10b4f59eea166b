"""Labels of every format, and the shapes that are refused."""

import numpy as np
import pytest

from keras_calib.ops import class_labels
from tests.backends import tensorflow_only


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_integer_labels_are_told_by_rank(shape):
    labels, soft = class_labels(np.ones(shape, "float32"), np.zeros((4, 3)))
    assert not soft
    assert tuple(labels.shape) == (4,)
    assert "int32" in str(labels.dtype)


def test_targets_are_told_by_rank_and_classes():
    labels, soft = class_labels(np.zeros((2, 5, 3)), np.zeros((2, 5, 3)))
    assert soft
    assert labels.shape == (2, 5, 3)


@pytest.mark.parametrize("shape", [(), (4, 2), (4, 3, 1), (5,)])
def test_other_shapes_are_refused_with_both_shapes(shape):
    with pytest.raises(ValueError, match=r"y_true\.shape=.*y_pred\.shape=\(4, 3\)"):
        class_labels(np.zeros(shape), np.zeros((4, 3)))


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="num_classes >= 2"):
        class_labels(np.zeros((4, 1)), np.zeros((4, 1)))


@tensorflow_only
@pytest.mark.parametrize("unknown", ["y_true", "y_pred"])
def test_unknown_rank_is_refused(unknown):
    import tensorflow as tf

    shapes = {"y_true": [None], "y_pred": [None, 3]}
    shapes[unknown] = None

    @tf.function(
        input_signature=[
            tf.TensorSpec(shapes["y_true"], tf.int32),
            tf.TensorSpec(shapes["y_pred"], tf.float32),
        ]
    )
    def call(y_true, y_pred):
        return class_labels(y_true, y_pred)[0]

    with pytest.raises(ValueError, match=f"`{unknown}` must have a static rank"):
        call.get_concrete_function()
