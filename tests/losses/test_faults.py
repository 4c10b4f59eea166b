"""What goes wrong in a batch, over every loss: NaN, infinity, ties, masks and the like.

Finite input gives finite values and gradients. What cannot be gives NaN or an error,
and what is ignored gives nothing.
"""

import functools

import numpy as np
import pytest
from keras import ops

from keras_calib import losses
from keras_calib._keras import set_keras_mask
from tests.backends import tensorflow_only
from tests.losses.table import ALL, BINARY, OF_A_BATCH
from tests.losses.tools import GRADIENT, value_and_gradient

TABLE = ALL | {f"binary_{name}": row for name, row in BINARY.items()} | OF_A_BATCH
WAYS = [(name, True) for name in TABLE]
WAYS += [(name, False) for name, row in TABLE.items() if not row.logits_only]
every_way = pytest.mark.parametrize(("name", "from_logits"), WAYS)
every_loss = pytest.mark.parametrize("name", TABLE)
IGNORING = [
    name
    for name, row in TABLE.items()
    if issubclass(row.loss, losses.ClassLoss | losses.GradientHarmonizedBCE)
]


def is_class(name):
    return issubclass(TABLE[name].loss, losses.ClassLoss)


def batch(name, from_logits):
    """Returns labels and predictions of shape (24,) and (24, 5), or (24, 5) twice."""
    y, z = TABLE[name].batch()
    if z.ndim == 3:
        y, z = y.reshape(24, *y.shape[2:]), z.reshape(24, 5)
    if is_class(name):
        e = np.exp(z - z.max(-1, keepdims=True))
        return y.astype("int32"), (z if from_logits else e / e.sum(-1, keepdims=True))
    return y, (z if from_logits else 1 / (1 + np.exp(-z)))


def make(name, from_logits=True, **kwargs):
    return TABLE[name](from_logits=from_logits, **{"reduction": None, **kwargs})


def call(step, y, z):
    """Returns value and gradient, float32 in, float64 numpy out."""
    pair = step(ops.convert_to_tensor(y), ops.convert_to_tensor(z, "float32"))
    return [ops.convert_to_numpy(x).astype("float64") for x in pair]


@every_loss
@pytest.mark.parametrize("by", ["ignore_class", "mask"])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_the_reduced_value_is_that_of_what_counts(name, by, reduction):
    if by == "ignore_class" and name not in IGNORING:
        pytest.skip("the loss ignores no label")
    if by == "ignore_class" and not is_class(name) and reduction == "sum":
        pytest.skip("Keras counts the ignored labels of GHM-C, whose mean is right")
    y, z = batch(name, True)
    kept = np.arange(24) % 3 != 0
    arguments = {"dtype": "float64", "reduction": reduction}
    expected, slope = value_and_gradient(
        make(name, **arguments), y[kept], z[kept], "float64"
    )
    if by == "ignore_class":
        y[~kept], arguments["ignore_class"] = -1, -1

    def loss(labels, predictions):
        if by == "mask":
            set_keras_mask(predictions, ops.convert_to_tensor(kept))
        return make(name, **arguments)(labels, predictions)

    value, gradient = value_and_gradient(loss, y, z, "float64")
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    np.testing.assert_allclose(gradient[kept], slope, rtol=1e-11, atol=1e-14)
    assert not gradient[~kept].any()


def test_a_mask_on_predictions_of_another_dtype():
    y, z = batch("hard_negative", True)
    kept = np.arange(24) % 3 != 0
    predictions = ops.convert_to_tensor(z, "float16")
    loss = make("hard_negative", reduction="sum_over_batch_size")
    expected = float(loss(y[kept], predictions[kept]))
    set_keras_mask(predictions, ops.convert_to_tensor(kept))
    assert float(loss(y, predictions)) == pytest.approx(expected, rel=1e-6)


NEEDS_THE_NUMBER = {
    *(name for name in TABLE if "smoothed" in name or "smoothing" in name),
    *("focal_alpha", "alpha_balanced", "exact", "exact_log_margin", "nce"),
}


@tensorflow_only
@every_way
def test_nothing_is_known_of_the_shape(name, from_logits):
    import tensorflow as tf

    y, z = batch(name, from_logits)
    loss = make(name, from_logits, reduction="sum_over_batch_size")
    shapes = [[None] * y.ndim, [None] * z.ndim]
    signature = [
        tf.TensorSpec(shapes[0], y.dtype),
        tf.TensorSpec(shapes[1], tf.float32),
    ]
    step = tf.function(functools.partial(GRADIENT, loss), input_signature=signature)
    if is_class(name) and name in NEEDS_THE_NUMBER:
        with pytest.raises(ValueError, match="static num_classes"):
            call(step, y, z)
        return
    found, expected = call(step, y, z), call(functools.partial(GRADIENT, loss), y, z)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@every_way
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(name, from_logits, dtype):
    """The loss computes in float32 what half precision has left of the predictions."""
    y, z = batch(name, from_logits)
    half = ops.convert_to_tensor(z, dtype)
    loss = make(name, from_logits)
    found = value_and_gradient(loss, y, z, dtype)
    expected = value_and_gradient(
        loss, y, ops.convert_to_numpy(ops.cast(half, "float32")), "float32"
    )
    np.testing.assert_array_equal(found[0], expected[0])
    assert np.isfinite(found[1]).all()
