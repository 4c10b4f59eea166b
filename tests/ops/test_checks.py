"""A batch is looked at, and what is wrong with it is said."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import check
from keras_calib._keras import set_keras_mask
from keras_calib.ops.binary_batch import BinaryBatch
from keras_calib.ops.reader import Reader

P = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], "float32")
Z = np.log(P) + 1.0
Y = np.array([0, 2])


@pytest.mark.parametrize("y", [Y, Y[:, None], np.eye(3)[Y], P, Y.astype("float32")])
def test_what_is_right_passes(y):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check(y, P)
        check(y, Z, from_logits=True)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "from_logits", "match"),
    [
        (Y, Z, False, "these are logits; use from_logits=True"),
        (Y, P, True, "holds probabilities.*but from_logits=True"),
        (Y, 0.9 * P, False, "does not sum to 1 over the classes"),
        (Y, P * [np.nan, 1, 1], False, "y_pred holds NaN or infinity"),
        (Y, Z * [np.inf, 1, 1], True, "y_pred holds NaN or infinity"),
        ([0, 3], P, False, r"labels are not in \[0, 3\).*values 0 to 3"),
        ([-1, 1], P, False, r"labels are not in \[0, 3\)"),
        ([0.5, 1], P, False, "labels are not whole numbers"),
        ([np.nan, 1], P, False, "y_true holds NaN or infinity"),
        (2 * np.eye(3)[Y], P, False, r"soft labels are not in \[0, 1\]"),
        (0.5 * np.eye(3)[Y], P, False, "soft labels do not sum to 1"),
        ([0, 1, 2], P, False, r"y_true.shape=\(3,\), y_pred.shape=\(2, 3\)"),
    ],
)
def test_what_is_wrong_is_said(y_true, y_pred, from_logits, match):
    with pytest.raises(ValueError, match=match):
        check(np.array(y_true), y_pred, from_logits=from_logits)


def test_ignored_labels_may_be_anything():
    check([0, 255], P, ignore_class=255)
    with pytest.raises(ValueError, match="nor ignore_class=255"):
        check([0, 254], P, ignore_class=255)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_half_precision_softmax_beside_a_tiny_gamma(dtype):
    p = ops.cast(P, dtype)
    with pytest.warns(UserWarning, match=r"gamma=1e-07.*dtype='float32'"):
        check(Y, p, gamma=1e-7)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check(Y, p, gamma=0.1)
        check(Y, ops.cast(Z, dtype), from_logits=True, gamma=1e-7)


def test_bad_gamma():
    with pytest.raises(ValueError, match="`gamma` must be a number"):
        check(Y, P, gamma=2)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("soft", [True, False])
def test_a_gamma_that_stands_still(soft, from_logits):
    """1000 classes, none of them known: at gamma .5 a sample has weight 0.002."""
    y_pred = np.zeros((4, 1000)) if from_logits else np.full((4, 1000), 1e-3)
    y = np.arange(4)
    y_true = np.eye(1000)[y] if soft else y
    with pytest.warns(UserWarning, match="is 2.0e-03 .*Anneal gamma up"):
        check(y_true, y_pred, from_logits, gamma=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check(y_true, y_pred, from_logits, gamma=1e-3)
        check(y_true, y_pred, from_logits, gamma=0.5, floor=0.2)


B = np.array([1, 0, 1])
Q = np.array([0.9, 0.2, 0.6])
L = np.array([[1, 0, 1], [0, 0, 1]])
S = np.array([[0.9, 0.3, 0.8], [0.2, 0.1, 0.7]])


@pytest.mark.parametrize(
    ("y_true", "y_pred", "binary"),
    [(B, Q, None), (B, Q[:, None], None), (np.eye(2)[B], Q, None), (L, S, True)],
)
def test_binary_labels(y_true, y_pred, binary):
    logits = np.log(y_pred) - np.log1p(-y_pred)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check(y_true, y_pred, binary=binary, gamma=1e-3)
        check(y_true, logits, True, binary=binary, gamma=1e-3)
    with pytest.raises(ValueError, match="these are logits"):
        check(y_true, logits, binary=binary)
    with pytest.warns(UserWarning, match="mean weight"):
        check(y_true, 1e-4 * y_true + 0.9999 * (1 - y_true), binary=binary, gamma=1)


class Loss(keras.losses.Loss):
    """What `check` reads of a loss; `ops` knows none of this package's."""

    def __init__(self, **said):
        super().__init__()
        vars(self).update(said)


class Binary(Reader, keras.losses.Loss):
    """A loss of binary labels."""

    def reader(self, y_pred):
        return BinaryBatch


def test_the_loss_says_how_predictions_are_read():
    check(Y, Z, loss=Loss(from_logits=True))
    check([0, 255], Z, loss=Loss(from_logits=True, ignore_class=255))
    check(Y[:, None], P[:, :, None], loss=Loss(axis=1))
    check(L, S, loss=Binary())
    check(L, S, loss=keras.losses.BinaryCrossentropy())
    check(Y, Z, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.warns(UserWarning, match="mean weight"):
        check([0, 0], [[1e-4, 0.5, 0.4999]] * 2, loss=Loss(gamma=0.5, floor=0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check([0, 0], [[1e-4, 0.5, 0.4999]] * 2, loss=Loss(gamma=2.0))


@pytest.mark.parametrize(
    ("said", "argument"),
    [
        ({"from_logits": True}, {"from_logits": False}),
        ({"axis": 1}, {"axis": -1}),
        ({"ignore_class": -1}, {"ignore_class": 255}),
        ({"gamma": 0.1, "floor": 0.0}, {"gamma": 0.2}),
        ({}, {"binary": True}),
    ],
)
def test_an_argument_may_not_contradict_the_loss(said, argument):
    with pytest.raises(ValueError, match="must be the loss's, .*or be left out"):
        check(Y, P, loss=Loss(**said), **argument)
    with pytest.raises(ValueError, match="`binary` must be the loss's, True"):
        check(L, S, loss=Binary(), binary=False)


def test_a_class_loss_beside_one_value_a_sample():
    with pytest.raises(ValueError, match="use a binary loss or metric"):
        check(B, Q, loss=Loss(from_logits=False))
    with pytest.raises(ValueError, match="must be a loss object"):
        check(B, Q, loss="binary_crossentropy")


def test_masked_positions_may_hold_anything():
    p = ops.convert_to_tensor(np.stack([P, np.full_like(P, np.nan)]))
    set_keras_mask(p, ops.convert_to_tensor([[True] * 2, [False] * 2]))
    check(np.stack([Y, Y - 9]), p, gamma=0.1)
