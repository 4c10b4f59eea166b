"""Reading a batch: what every metric asks of it."""

import numpy as np
import pytest
from keras import ops

from keras_calib.ops.binary_batch import (
    BinaryBatch,
    OneLabelBatch,
    is_one_probability,
    two_classes,
)
from keras_calib.ops.class_batch import ClassBatch
from tests.backends import needs_float64

P = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.0, 0.0, 1.0]], "float32")
Y = np.array([1, 1, 2])


def test_top_label():
    batch = ClassBatch(Y, P)
    np.testing.assert_allclose(ops.convert_to_numpy(batch.confidence), [0.5, 0.4, 1.0])
    np.testing.assert_array_equal(ops.convert_to_numpy(batch.predicted), [1, 0, 2])
    np.testing.assert_array_equal(ops.convert_to_numpy(batch.hit), [True, False, True])
    assert batch.sample_weight is None


def test_soft_labels_hit_as_far_as_they_name_the_predicted_class():
    soft = np.array([[0.1, 0.7, 0.2], [0.3, 0.6, 0.1], [0.0, 0.5, 0.5]], "float32")
    hit = ops.convert_to_numpy(ClassBatch(soft, P).hit)
    np.testing.assert_allclose(hit, [0.7, 0.3, 0.5])


@needs_float64
@pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
def test_logits_may_be_large(shift):
    z = np.array([[0.0, 2.0, 1.0]]) + shift
    batch = ClassBatch([1], z, from_logits=True, dtype="float64")
    e = np.exp([0.0, 2.0, 1.0])
    p = ops.convert_to_numpy(batch.probabilities)
    np.testing.assert_allclose(p[0], e / e.sum(), rtol=1e-9)
    assert float(batch.confidence[0]) == pytest.approx(e[1] / e.sum(), rel=1e-9)
    impossible = ClassBatch([0], [[-1e4, 0.0, 0.0]], from_logits=True)
    expected = 1e4 + np.log(2)
    assert float(impossible.cross_entropy[0]) == pytest.approx(expected, rel=1e-6)


def test_sums_of_one_bin_are_those_of_more():
    batch = ClassBatch(Y, P, [1.0, 2.0, 3.0])
    alone = batch.top_label.sums(1)
    batch = ClassBatch(Y, P, [1.0, 2.0, 3.0])
    batch.top_label.sums(15)
    for found, expected in zip(batch.top_label.sums(1), alone, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(found), ops.convert_to_numpy(expected), rtol=1e-6
        )
    np.testing.assert_allclose(ops.convert_to_numpy(alone.weight), [6.0])


def test_leading_axes_and_weights_of_some_of_them():
    y, p = np.stack([Y, Y]), np.stack([P, P])
    batch = ClassBatch(y, p, np.array([1.0, 2.0]))
    np.testing.assert_allclose(batch.sample_weight, [1, 1, 1, 2, 2, 2])
    batch = ClassBatch(y, p, np.ones((2, 3, 1)))
    np.testing.assert_allclose(batch.sample_weight, np.ones(6))
    with pytest.raises(ValueError, match="must have the shape of the samples"):
        _ = ClassBatch(y, p, np.ones((2, 2))).sample_weight


def test_ignore_class_wants_integer_labels():
    with pytest.raises(ValueError, match="`ignore_class` needs integer labels"):
        ClassBatch(P, P, ignore_class=0)


def test_more_of_the_top_than_there_are():
    with pytest.raises(ValueError, match="at most the number of classes, 3"):
        ClassBatch(Y, P).top(4)


def test_one_label_in_every_shape():
    y, p = np.array([0, 1]), np.array([0.2, 0.7])
    two = np.stack([1 - p, p], axis=-1)
    for labels, predictions in (
        (y, p),
        (y, p[:, None]),
        (y[:, None], p[:, None]),
        (y, two),
        (np.eye(2)[y], two),
    ):
        batch = OneLabelBatch(labels, predictions)
        assert batch.probabilities.shape == (2, 1)
        error = ops.convert_to_numpy(batch.squared_error)
        np.testing.assert_allclose(error, [0.04, 0.09], rtol=1e-6)
    with pytest.raises(ValueError, match=r"y_true.shape=\(3,\), y_pred.shape=\(2,\)"):
        OneLabelBatch(np.zeros(3), p)


def test_labels_that_are_unknown_count_for_nothing():
    y, p = np.array([[0, -1], [1, 1]]), np.array([[0.2, 0.9], [0.6, 0.7]])
    batch = BinaryBatch(y, p, np.array([1.0, 2.0]), ignore_class=-1)
    np.testing.assert_allclose(batch.every_class.sample_weight, [[1, 0], [2, 2]])
    with pytest.raises(ValueError, match="binary labels of the same shape"):
        BinaryBatch(np.zeros((2, 3)), p)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("axis", [-1, 1])
def test_one_probability_is_two_classes(from_logits, axis):
    rng = np.random.default_rng(0)
    p, y = rng.random((4, 3)), rng.integers(0, 2, (4, 3))
    x = np.log(p) - np.log1p(-p) if from_logits else p
    expected = np.stack([0 * x if from_logits else 1 - x, x], axis)
    x = np.expand_dims(x, axis)
    for labels in (y, np.expand_dims(y, axis)):
        found = two_classes(labels, x, from_logits, axis)
        np.testing.assert_array_equal(found[0], y)
        np.testing.assert_array_equal(found[1], expected)
    labels, _ = two_classes(0.25 + 0.5 * y, x, from_logits, axis)
    np.testing.assert_array_equal(labels.take(1, axis), 0.25 + 0.5 * y)
    assert is_one_probability(x, axis)
    assert not is_one_probability(expected, axis)


def test_one_probability_without_an_axis_is_two_classes():
    labels, p = two_classes(np.array([[0], [1]]), np.array([0.25, 0.5]), False)
    np.testing.assert_array_equal(labels, [0, 1])
    np.testing.assert_array_equal(p, [[0.75, 0.25], [0.5, 0.5]])
