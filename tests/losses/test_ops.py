"""The building blocks that `ops` offers give what the classes give."""

import numpy as np
import pytest
from keras import ops as keras_ops

from keras_calib import losses, ops
from tests.losses.table import ALL, BINARY, TRUE_CLASS
from tests.losses.tools import value_and_gradient

# The losses of log p, p and q alone. Others smooth the labels before.
PLAIN = [
    name
    for name, row in TRUE_CLASS.items()
    if row.loss.sample_losses is losses.TrueClassLoss.sample_losses
]
PLAIN_BINARY = [
    name
    for name, row in BINARY.items()
    if row.loss.label_losses is losses.BinaryLoss.label_losses
    and "label_smoothing" not in row.arguments
]


def batches(row):
    """Yields labels in each format, predictions, and whether these are logits."""
    y, z = row.batch()
    classes = issubclass(row.loss, losses.ClassLoss)
    soft = np.full((*z.shape[:-1], 5), 0.04)
    soft += 0.8 * np.eye(5)[y] if classes else 0.8 * y
    e = np.exp(z)
    p = e / e.sum(-1, keepdims=True) if classes else e / (1.0 + e)
    for labels in (y, soft):
        yield labels, z, True
        if not row.logits_only:
            yield labels, p, False


def assert_same(row, function, **kwargs):
    """Holds a function of the loss's class to that class, with its gradients."""
    for y, y_pred, from_logits in batches(row):
        loss = row(from_logits=from_logits, reduction=None, dtype="float64", **kwargs)
        expected = value_and_gradient(loss, y, y_pred, "float64")
        found = value_and_gradient(function(loss), y, y_pred, "float64")
        assert found[0].shape == expected[0].shape
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", PLAIN)
def test_a_loss_of_the_true_class(name):
    assert_same(
        TRUE_CLASS[name],
        lambda loss: (
            lambda y, y_pred: ops.true_class_loss(
                y,
                y_pred,
                loss.value,
                loss.weight,
                from_logits=loss.from_logits,
                label_smoothing=loss.smoothing(5),
                class_weights=loss.class_weights,
                score_factor=loss.score_factor,
                score_shift=loss.score_shift,
            )
        ),
    )


@pytest.mark.parametrize("name", ALL)
def test_a_loss_of_classes(name):
    """It needs a class's loss alone, and takes the others from it."""
    assert_same(
        ALL[name], lambda loss: lambda y, y_pred: ops.class_loss(y, y_pred, loss)
    )


@pytest.mark.parametrize("name", PLAIN_BINARY)
def test_a_loss_of_labels(name):
    assert_same(
        BINARY[name],
        lambda loss: (
            lambda y, y_pred: keras_ops.sum(
                ops.binary_loss(
                    y,
                    y_pred,
                    loss.value,
                    loss.weight,
                    from_logits=loss.from_logits,
                    positive_weight=loss.positive_weight,
                    negative_weight=loss.negative_weight,
                ),
                axis=-1,
            )
        ),
        label_reduction="sum",
    )
