"""What goes wrong in a batch, over every loss: NaN, infinity, ties, masks and the like.

Finite input gives finite values and gradients. What cannot be gives NaN or an error,
and what is ignored gives nothing.
"""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import losses
from keras_calib._keras import set_keras_mask
from tests.backends import BACKEND, tensorflow_only
from tests.losses.table import ALL, BINARY, OF_A_BATCH
from tests.losses.tools import (
    GRADIENT,
    second_derivatives,
    value_and_gradient,
    with_little_of_exact,
)

TABLE = ALL | {f"binary_{name}": row for name, row in BINARY.items()} | OF_A_BATCH
WAYS = [(name, True) for name in TABLE]
WAYS += [(name, False) for name, row in TABLE.items() if not row.logits_only]
every_way = pytest.mark.parametrize(("name", "from_logits"), WAYS)
every_loss = pytest.mark.parametrize("name", TABLE)
NAN, INF = float("nan"), float("inf")
N, K = 24, 5
ROWS = 7 * N


def is_class(name):
    return issubclass(TABLE[name].loss, losses.ClassLoss)


def batch(name, from_logits):
    """Returns labels and predictions of shape (24,) and (24, 5), or (24, 5) twice."""
    y, z = TABLE[name].batch()
    if z.ndim == 3:
        y, z = y.reshape(N, *y.shape[2:]), z.reshape(N, K)
    if is_class(name):
        e = np.exp(z - z.max(-1, keepdims=True))
        return y.astype("int32"), (z if from_logits else e / e.sum(-1, keepdims=True))
    return y, (z if from_logits else 1 / (1 + np.exp(-z)))


def formats(name, y):
    """Returns the labels in each format that the loss takes, and soft ones."""
    if not is_class(name) or TABLE[name].integers_only:
        return [y]
    hot = np.eye(K, dtype="float32")[y]
    return [y, 0.9 * hot + 0.1 * np.eye(K, dtype="float32")[(y + 2) % K], hot]


def make(name, from_logits=True, **kwargs):
    return TABLE[name](from_logits=from_logits, **{"reduction": None, **kwargs})


def steps(function):
    """Returns the function with its gradient, eager and compiled."""
    eager = functools.partial(GRADIENT, function)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return [eager, tf.function(eager, jit_compile=True)]
    if BACKEND == "jax":
        import jax

        return [eager, jax.jit(eager)]
    return [eager]


@functools.cache
def steps_of(name, from_logits):
    """Returns the steps of a loss. Batches of `ROWS` rows share what is compiled."""
    return steps(make(name, from_logits))


def filled(x):
    """Returns the rows, repeated until there are `ROWS`."""
    return np.resize(x, (ROWS, *x.shape[1:]))


def call(step, y, z, dtype="float32"):
    """Returns value and gradient as float64 numpy."""
    pair = step(ops.convert_to_tensor(y), ops.convert_to_tensor(z, dtype))
    return [ops.convert_to_numpy(x).astype("float64") for x in pair]


def extremes(z, from_logits):
    """Yields predictions that are extreme, and possible."""
    if from_logits:
        yield np.zeros_like(z)
        yield np.where(z > 0, 1e4, -1e4)
        yield np.full_like(z, -1e4)
        return
    k = z.shape[-1]
    yield np.full_like(z, 1 / k)
    for small in (0.0, 1e-45, 1e-40, 1.2e-38, 1e-20, 1e-7):
        p = np.full_like(z, small)
        p[np.arange(len(p)), np.arange(len(p)) % k] = 1.0
        yield p


@every_way
def test_finite_input(name, from_logits):
    """Ties, logits far apart, probabilities of 0 and denormals."""
    y, z = batch(name, from_logits)
    inputs = filled(np.concatenate(list(extremes(z, from_logits))))
    for place, labels in enumerate(formats(name, y)[:2]):
        # XLA rewrites divisions by probabilities, in both formats.
        which = steps_of(name, from_logits)[: 1 if from_logits and place else None]
        expected, *compiled = (call(step, filled(labels), inputs) for step in which)
        assert all(np.isfinite(x).all() for x in expected)
        for found in compiled:
            np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)
            # Both are rounded: EXACT's gradient of 4000 is off by 5e-5 in float32.
            np.testing.assert_allclose(found[1], expected[1], rtol=2e-4, atol=1e-6)


def faults(name, from_logits):
    """Returns faults of a row of predictions and of its label, by what they are."""
    rows = {"NaN": NAN} | ({"+inf": INF} if is_class(name) or not from_logits else {})
    if not from_logits:
        rows |= {"above 1": 1.5, "below 0": -0.5}
    labels = [K, -1, 1000] if is_class(name) else [2.0, -1.0, NAN]
    return rows, labels


def faulty_batches(name, from_logits):
    """Returns batches with faults in the first rows, and how many rows have one.

    All are in one batch, or each in its own where samples depend on each other.
    """
    y, z = map(filled, batch(name, from_logits))
    rows, labels = faults(name, from_logits)
    changes = [(1, ..., value) for value in rows.values()]
    if is_class(name) and from_logits:
        changes.append((1, K - 1, NAN))
    changes += [(0, ..., label) for label in labels]
    each = len(changes) if name in OF_A_BATCH else 1
    batches = [(y.copy(), z.copy()) for _ in range(each)]
    for n, (which, place, value) in enumerate(changes):
        found, row = (batches[n], 0) if each > 1 else (batches[0], n)
        found[which][row, place] = value
    return batches, len(changes) // each


@every_way
def test_what_cannot_be(name, from_logits):
    """A row of what is no prediction, a label that is no class: NaN, and no figure."""
    batches, wrong = faulty_batches(name, from_logits)
    for step in steps_of(name, from_logits):
        for each in batches:
            value = call(step, *each)[0].reshape(ROWS, -1)
            if name in OF_A_BATCH:
                assert not np.isfinite(value).all()
            else:
                assert not np.isfinite(value[:wrong]).any()
                assert np.isfinite(value[wrong:]).all()


LEFT_OUT = np.arange(N) % 3 == 0


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "from_logits"), with_little_of_exact(WAYS))
def test_what_is_left_out(name, from_logits):
    """Value and gradient are those of the other samples, whatever the row holds.

    A row is left out by a mask, by its label, or some rows by the one and some by the
    other, which XLA compiles.
    """
    y, z = batch(name, from_logits)
    ignoring = losses.ClassLoss | losses.GradientHarmonizedBCE
    ignores = issubclass(TABLE[name].loss, ignoring)
    for place, labels in enumerate(formats(name, y)[:2]):
        for reduction in ("sum_over_batch_size", "sum")[: 1 if place else None]:
            arguments = {"dtype": "float64", "reduction": reduction}
            loss = make(name, from_logits, **arguments)
            expected, slope = value_and_gradient(
                loss, labels[~LEFT_OUT], z[~LEFT_OUT], "float64"
            )
            given, predictions = labels.copy(), z.copy()
            predictions.T[..., LEFT_OUT] = np.resize([NAN, -INF, INF], LEFT_OUT.sum())
            given[LEFT_OUT] = NAN if given.ndim == 2 and is_class(name) else -1
            ways = [(loss, ~LEFT_OUT)]
            if ignores and place == 0:
                loss = make(name, from_logits, ignore_class=-1, **arguments)
                ways += [(loss, None), (loss, ~LEFT_OUT | (np.arange(N) % 2 == 0))]
            for loss, mask in ways if reduction != "sum" else ways[-1:]:

                def of(y, z, loss=loss, mask=mask):
                    if mask is not None:
                        set_keras_mask(z, ops.convert_to_tensor(mask))
                    return loss(y, z)

                last = mask is ways[-1][1] and reduction != "sum" and place == 0
                for step in steps(of)[: None if last else 1]:
                    value, gradient = call(step, given, predictions, "float64")
                    np.testing.assert_allclose(value, expected, rtol=1e-11)
                    np.testing.assert_allclose(
                        gradient[~LEFT_OUT], slope, rtol=1e-10, atol=1e-14
                    )
                    assert not gradient[LEFT_OUT].any()


def test_a_mask_on_predictions_of_another_dtype():
    y, z = batch("hard_negative", True)
    kept = ~LEFT_OUT
    predictions = ops.convert_to_tensor(z, "float16")
    loss = make("hard_negative", reduction="sum_over_batch_size")
    expected = float(loss(y[kept], predictions[kept]))
    set_keras_mask(predictions, ops.convert_to_tensor(kept))
    assert float(loss(y, predictions)) == pytest.approx(expected, rel=1e-6)


@every_loss
def test_masked_classes(name):
    """A logit of -inf: the class has probability 0, and is not the label.

    In some rows all other classes are masked.
    """
    if getattr(make(name), "label_smoothing", 0.0):
        pytest.skip("every class has a share of the label")
    y, z = map(filled, batch(name, True))
    if is_class(name):
        z[np.arange(ROWS), (y + 1) % K] = -INF
        z[:3] = np.where(np.arange(K) == y[:3, None], z[:3], -INF)
    else:
        z = np.where(y == 0, -INF, z)
    far = np.where(np.isfinite(z), z, -1e4)
    for place, labels in enumerate(formats(name, y)[::2]):
        expected = call(steps_of(name, True)[0], labels, far)
        for step in steps_of(name, True)[: 1 if place else None]:
            for one, other in zip(call(step, labels, z), expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("name", with_little_of_exact(TABLE))
def test_second_derivatives_of_logits_far_apart(name):
    """They are those of the gradient, where the logits are -inf or 1e4 apart, too."""
    if name in OF_A_BATCH:
        pytest.skip("its samples depend on each other")
    z = np.repeat([[0.0, -1.3, -2.53, -0.57, -4.1]], 4, axis=0)
    z[:3, 0], z[3, 3] = [1e4, 90.0, -1e4], -INF
    if getattr(make(name), "label_smoothing", 0.0):  # every class is asked for
        z = z[:3]
    y = np.zeros(len(z), "int32") if is_class(name) else np.eye(K)[[0] * len(z)]
    loss, step = make(name, reduction="sum", dtype="float64"), 1e-4 * np.eye(K)
    for labels in formats(name, y)[::2]:
        up, down = (
            [value_and_gradient(loss, labels, x, "float64")[1] for x in moved]
            for moved in (z + step[:, None], z - step[:, None])
        )
        # Of (direction, sample, entry); with a weight that is no function of p_y they
        # are not symmetric.
        expected = np.moveaxis(np.subtract(up, down), 0, -1) / 2e-4
        found = second_derivatives(loss, labels, z)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@every_way
def test_no_samples(name, from_logits):
    y, z = batch(name, from_logits)
    for reduction in ("sum_over_batch_size", None):
        keras_loss = keras.losses.MeanSquaredError(reduction=reduction)
        shape = ops.shape(keras_loss(np.zeros((0, K)), np.zeros((0, K))))
        for labels in formats(name, y)[:2]:
            loss = make(name, from_logits, reduction=reduction)
            value, gradient = value_and_gradient(loss, labels[:0], z[:0], "float32")
            assert value.shape == shape
            assert not value.sum()
            assert gradient.shape == z[:0].shape


NEEDS_THE_NUMBER = {
    *(name for name in TABLE if "smoothed" in name or "smoothing" in name),
    *("focal_alpha", "alpha_balanced", "exact", "exact_log_margin", "nce"),
    *("forward_corrected", "logit_adjusted"),
}


@pytest.mark.thorough
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
