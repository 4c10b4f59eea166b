"""What is true of every loss over K classes: one table, one set of checks."""

import copy
import functools
import pickle

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import losses
from keras_calib._keras import set_keras_mask
from tests.backends import every_compiler, needs_float64, tensorflow_only
from tests.losses.table import ALL, BINARY, TRUE_CLASS
from tests.losses.tools import (
    GRADIENT,
    per_sample,
    second_derivatives,
    value_and_gradient,
    with_little_of_exact,
)

K = 5


@pytest.fixture
def logits():
    return np.random.default_rng(7).normal(0, 3, (24, K))


@pytest.fixture
def labels():
    return np.random.default_rng(8).integers(0, K, 24)


@pytest.fixture
def soft_labels():
    return np.random.default_rng(9).dirichlet(np.ones(K), 24)


@pytest.fixture
def binary_labels():
    """Labels of 0 and 1, and six rows of soft ones."""
    rng = np.random.default_rng(10)
    hard = rng.random((18, K)) > 0.5
    return np.concatenate([rng.random((6, K)), hard])


every_loss = pytest.mark.parametrize("name", ALL)
every_true_class_loss = pytest.mark.parametrize("name", TRUE_CLASS)
every_loss_of_probabilities = pytest.mark.parametrize(
    "name", [name for name, row in ALL.items() if not row.logits_only]
)
WAYS = [(name, True) for name in ALL]
WAYS += [(name, False) for name, row in ALL.items() if not row.logits_only]
every_binary_loss = pytest.mark.parametrize("name", BINARY)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def make(name, /, **kwargs):
    return ALL[name](**{"from_logits": True, "dtype": "float64", **kwargs})


@every_loss
def test_one_value_a_sample(name, logits, labels):
    assert per_sample(make(name), labels, logits).shape == (24,)
    deep = logits.reshape(2, 3, 4, K)
    assert per_sample(make(name), labels.reshape(2, 3, 4), deep).shape == (2, 3, 4)


@needs_float64
@pytest.mark.parametrize(("name", "from_logits"), WAYS)
@pytest.mark.parametrize("rank", [2, 3])
def test_label_formats_agree(name, rank, from_logits, logits, labels):
    """Integers, a column of them, floats and one-hot: the same values and gradients."""
    leading = (24,) if rank == 2 else (4, 6)
    y_pred = (logits if from_logits else softmax(logits)).reshape(*leading, K)
    y = labels.reshape(leading)
    formats = [y, y[..., None], y.astype("float32"), np.eye(K)[y]]
    loss = make(name, from_logits=from_logits, reduction=None)
    values, gradients = zip(
        *(value_and_gradient(loss, f, y_pred, "float64") for f in formats), strict=True
    )
    for value, gradient in zip(values[1:], gradients[1:], strict=True):
        np.testing.assert_allclose(value, values[0], rtol=1e-13)
        np.testing.assert_allclose(gradient, gradients[0], rtol=1e-11, atol=1e-15)


@needs_float64
@every_loss
def test_soft_targets_are_linear(name, logits, soft_labels):
    """L(t) = sum_i t_i L(i)."""
    loss = make(name, reduction=None)
    each = [per_sample(loss, np.full(24, i), logits) for i in range(K)]
    np.testing.assert_allclose(
        per_sample(loss, soft_labels, logits),
        np.sum(soft_labels * np.stack(each, axis=-1), axis=-1),
        rtol=1e-13,
    )


@needs_float64
@every_loss_of_probabilities
def test_probabilities_agree_with_logits(name, logits, labels):
    np.testing.assert_allclose(
        per_sample(make(name, from_logits=False), labels, softmax(logits)),
        per_sample(make(name), labels, logits),
        rtol=1e-11,
    )


@needs_float64
@pytest.mark.parametrize("name", [name for name, row in ALL.items() if not row.no_loss])
@pytest.mark.parametrize("soft", [False, True])
def test_gradient_is_that_of_finite_differences(
    name, soft, logits, labels, soft_labels
):
    loss = make(name, reduction="sum")
    y = soft_labels if soft else labels
    _, gradient = value_and_gradient(loss, y, logits, "float64")
    loss = make(ALL[name].minimizes or name, reduction="sum")
    step = 1e-5
    for j in range(K):
        shift = step * np.eye(K)[j]
        up = per_sample(loss, y, logits + shift)
        down = per_sample(loss, y, logits - shift)
        np.testing.assert_allclose(
            gradient[:, j], (up - down) / (2 * step), rtol=1e-7, atol=1e-9
        )


@needs_float64
@every_true_class_loss
def test_weight_is_the_derivative_of_value(name):
    """W = -dl/dlog p, by autodiff of the value where its branches are smooth."""
    loss = make(name)
    log_p = np.log([1e-6, 1e-3, 0.05, 0.2, 0.41, 0.7, 0.9, 0.99, 0.9999])

    def known(log_p):
        return log_p, ops.exp(log_p), -ops.expm1(log_p)

    _, slope = value_and_gradient(
        lambda _, log_p: loss.value(*known(log_p)), 0, log_p, "float64"
    )
    expected = loss.weight(*known(ops.convert_to_tensor(log_p, "float64")))
    np.testing.assert_allclose(-slope, ops.convert_to_numpy(expected), rtol=1e-10)


@needs_float64
@every_loss
def test_second_derivatives_are_those_of_the_gradient(name, logits, labels):
    loss, z, step = make(name), logits[:1], 1e-5
    second = second_derivatives(loss, labels[:1], z)[0]
    for j in range(K):
        shift = step * np.eye(K)[j]
        _, up = value_and_gradient(loss, labels[:1], z + shift, "float64")
        _, down = value_and_gradient(loss, labels[:1], z - shift, "float64")
        difference = (up - down)[0] / (2 * step)
        np.testing.assert_allclose(second[:, j], difference, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", with_little_of_exact(ALL))
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_at_extreme_logits(name, dtype, soft):
    z = np.zeros((K + 3, K))
    z[:K] = 1e4 * np.eye(K)
    z[K], z[K + 1, 0], z[K + 2] = -1e4, -1e4, [1e4, 1e4, -1e4, 0.0, 88.0]
    for label in range(K):
        y = np.full(len(z), label)
        y = np.eye(K)[y] if soft else y
        loss = make(name, dtype=dtype, reduction=None)
        value, gradient = value_and_gradient(loss, y, z, dtype)
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()


@needs_float64
@every_loss
def test_ignore_class_drops_samples(name, logits, labels):
    kept = np.arange(24) % 3 != 0
    some = np.where(kept, labels, 255)
    loss = make(name, ignore_class=255)
    value, gradient = value_and_gradient(loss, some, logits, "float64")
    alone, of_kept = value_and_gradient(
        make(name), labels[kept], logits[kept], "float64"
    )
    assert float(value) == pytest.approx(float(alone), rel=1e-14)
    np.testing.assert_allclose(gradient[kept], of_kept, rtol=1e-13)
    assert not gradient[~kept].any()
    with pytest.raises(ValueError, match="`ignore_class` needs integer labels"):
        loss(np.eye(K)[labels], logits)


@every_loss
@pytest.mark.parametrize("form", ["integers", "column", "ignored", "soft"])
def test_classes_may_be_on_any_axis(name, form, logits, labels, soft_labels):
    z, y = logits.reshape(2, 3, 4, K), labels.reshape(2, 3, 4)
    first, kwargs, there = np.moveaxis(z, -1, 1), {}, y
    if form == "column":
        there = y[:, None]
    elif form == "ignored":
        kwargs["ignore_class"] = 0
    elif form == "soft":
        y = soft_labels.reshape(2, 3, 4, K)
        there = np.moveaxis(y, -1, 1)
    weights = np.random.default_rng(0).random((2, 3, 4))
    last = make(name, reduction=None, **kwargs)
    moved = make(name, reduction=None, axis=1, **kwargs)
    expected = value_and_gradient(last, y, z, "float64")
    found, gradient = value_and_gradient(moved, there, first, "float64")
    np.testing.assert_array_equal(found, expected[0])
    np.testing.assert_array_equal(np.moveaxis(gradient, 1, -1), expected[1])
    for w in (weights, weights[:, None]):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(moved(there, first, sample_weight=w)),
            ops.convert_to_numpy(last(y, z, sample_weight=weights)),
        )


@every_loss
@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_that_is_not_there(name, axis, logits, labels):
    with pytest.raises(ValueError, match=f"`axis` must be an axis.*axis={axis}"):
        make(name, axis=axis)(labels, logits)


@needs_float64
@every_loss
def test_weights_and_masks(name, logits, labels):
    each = per_sample(make(name), labels, logits)
    y, z = ops.convert_to_tensor(labels), ops.convert_to_tensor(logits, "float64")
    weights = np.random.default_rng(0).random(24)
    weighted = make(name)(y, z, sample_weight=weights.copy())
    assert float(weighted) == pytest.approx((each * weights).mean(), rel=1e-13)
    mask = np.arange(24) % 4 != 0
    set_keras_mask(z, ops.convert_to_tensor(mask))
    assert float(make(name)(y, z)) == pytest.approx(each[mask].mean(), rel=1e-13)


@every_compiler
@every_loss
def test_compiled_agrees_with_eager(name, compiler, logits, labels):
    loss = make(name, dtype="float32", reduction=None)
    eager = value_and_gradient(loss, labels, logits, "float32")
    step = compiler(functools.partial(GRADIENT, loss))
    got = step(ops.convert_to_tensor(labels), ops.convert_to_tensor(logits, "float32"))
    for a, b in zip(got, eager, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7)


@tensorflow_only
@every_loss
def test_unknown_batch_size(name, logits, labels):
    import tensorflow as tf

    loss = make(name, dtype="float32")

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, None, K], tf.float32),
        ]
    )
    def call(y, z):
        return loss(y, z)

    z = logits.astype("float32").reshape(4, 6, K)
    y = labels.reshape(4, 6)
    assert float(call(y.astype("int32"), z)) == pytest.approx(float(loss(y, z)))


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_config_round_trip(name, dtype, logits, labels):
    loss = make(name, dtype=dtype, reduction="sum", name="mine")
    expected = float(loss(labels, logits))
    config = loss.get_config()
    assert config["dtype"] == dtype
    again = [
        type(loss).from_config(config),
        keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(loss)
        ),
        pickle.loads(pickle.dumps(loss)),
        copy.deepcopy(loss),
    ]
    for other in again:
        assert type(other) is type(loss)
        assert other.get_config() == config
        assert float(other(labels, logits)) == expected


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_from_logits(policy):
    """Of one loss: `test_faults.py` gives half precision to each."""
    model = small_model(K, dtype=policy)
    loss = ALL["gamma"](from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, run_eagerly=True)
    x = np.eye(K, dtype="float32")[np.arange(60) % K]
    history = model.fit(x, np.arange(60) % K, epochs=6, verbose=0, shuffle=False)
    losses_seen = history.history["loss"]
    assert np.isfinite(losses_seen).all()
    assert losses_seen[-1] < losses_seen[0]


@every_loss
def test_saved_model_gives_the_same_loss(name, tmp_path, logits, labels):
    model, loss = small_model(K), ALL[name](from_logits=True)
    model.compile("sgd", loss)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").loss
    assert loaded.get_config() == loss.get_config()
    assert float(loaded(labels, logits)) == float(loss(labels, logits))


@every_loss
@pytest.mark.parametrize(
    ("y_true", "y_pred", "match"),
    [
        (np.zeros((4, 2)), np.zeros((4, K)), r"y_true.shape=\(4, 2\)"),
        (np.zeros((4, K, 1)), np.zeros((4, K)), r"y_pred.shape=\(4, 5\)"),
        (np.zeros(4), np.zeros((4, 1)), "num_classes >= 2"),
    ],
)
def test_bad_shapes(name, y_true, y_pred, match):
    with pytest.raises(ValueError, match=match):
        make(name)(y_true, y_pred)


@pytest.mark.parametrize("name", ["ignore_class", "axis"])
def test_whole_numbers(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a whole.*Received: 1.5"):
        losses.GammaCE(0.1, **{name: 1.5})


@pytest.mark.parametrize("wrong", ["False", None, 2, 0.5])
def test_whether_is_true_or_false(wrong):
    """bool("False") is True."""
    with pytest.raises(ValueError, match="`from_logits` must be True or False"):
        losses.GammaCE(0.1, from_logits=wrong)
    with pytest.raises(ValueError, match="`from_logits` must be True or False"):
        losses.GammaBCE(0.1, from_logits=wrong)
    with pytest.raises(ValueError, match="`log` must be True or False"):
        losses.ExpectedAccuracyLoss(log=wrong, from_logits=True)


@pytest.mark.parametrize("make", [losses.AlphaBalancedCE, losses.FocalCE])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1.0])
def test_class_weights_are_finite(make, wrong):
    with pytest.raises(ValueError, match=r"`alpha\[1\]` must be a number"):
        make(alpha=[1.0, wrong])
    with pytest.raises(ValueError, match="`alpha` must be a number in .*Received"):
        make(alpha=wrong)


def test_half_precision_losses_refuse_labels_they_cannot_hold():
    z = np.zeros((2, 300))
    with pytest.raises(ValueError, match="dtype 'bfloat16' holds class labels only"):
        losses.GammaCE(0.1, dtype="bfloat16")([257, 3], z)


# Independent labels.


def make_binary(name, /, **kwargs):
    return BINARY[name](**{"from_logits": True, "dtype": "float64", **kwargs})


@every_binary_loss
def test_binary_one_value_a_sample(name, logits, binary_labels):
    assert per_sample(make_binary(name), binary_labels, logits).shape == (24,)
    column = make_binary(name)
    np.testing.assert_allclose(
        per_sample(column, binary_labels[:, 0], logits[:, :1]),
        per_sample(column, binary_labels[:, :1], logits[:, :1]),
    )


@every_binary_loss
def test_binary_labels_may_be_on_any_axis(name, logits, binary_labels):
    z, y = logits.reshape(2, 3, 4, K), binary_labels.reshape(2, 3, 4, K)
    last, moved = (make_binary(name, reduction=None, axis=axis) for axis in (-1, 1))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(moved(np.moveaxis(y, -1, 1), np.moveaxis(z, -1, 1))),
        ops.convert_to_numpy(last(y, z)),
    )
    with pytest.raises(ValueError, match="`axis` must be an axis"):
        make_binary(name, axis=4)(y, z)


@needs_float64
@every_binary_loss
def test_binary_probabilities_agree_with_logits(name, logits, binary_labels):
    p = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(
        per_sample(make_binary(name, from_logits=False), binary_labels, p),
        per_sample(make_binary(name), binary_labels, logits),
        rtol=1e-11,
    )


@needs_float64
@every_binary_loss
@pytest.mark.parametrize("from_logits", [True, False])
def test_binary_gradient_is_that_of_finite_differences(
    name, from_logits, logits, binary_labels
):
    loss = make_binary(name, reduction="sum", from_logits=from_logits)
    x = logits if from_logits else 1 / (1 + np.exp(-logits))
    _, gradient = value_and_gradient(loss, binary_labels, x, "float64")
    step = 1e-6
    for j in range(K):
        shift = step * np.eye(K)[j]
        up = per_sample(loss, binary_labels, x + shift)
        down = per_sample(loss, binary_labels, x - shift)
        np.testing.assert_allclose(
            gradient[:, j], (up - down) / (2 * step), rtol=2e-5, atol=1e-7
        )


@every_binary_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_finite_at_extreme_logits(name, dtype):
    z = np.array([[1e4], [-1e4], [0.0], [88.0], [-104.0]])
    for y in (0.0, 0.3, 1.0):
        loss = make_binary(name, dtype=dtype, reduction=None)
        value, gradient = value_and_gradient(loss, np.full_like(z, y), z, dtype)
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()


@every_binary_loss
def test_binary_config_round_trip(name, logits, binary_labels):
    loss = make_binary(name, reduction="sum", name="mine")
    other = pickle.loads(pickle.dumps(loss))
    assert other.get_config() == loss.get_config()
    assert float(other(binary_labels, logits)) == float(loss(binary_labels, logits))


@needs_float64
@every_compiler
@every_binary_loss
def test_binary_compiled_agrees_with_eager(name, compiler, logits, binary_labels):
    loss = make_binary(name, reduction=None)
    np.testing.assert_allclose(
        compiler(loss)(binary_labels, logits), loss(binary_labels, logits), rtol=1e-12
    )


def small_model(num_classes, dtype=None):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((num_classes,)),
            keras.layers.Dense(num_classes, dtype=dtype),
        ]
    )


def test_weights_may_be_a_list():
    """Called in place of `fit`, which makes tensors of all it is given."""
    w = [1.0, 0.0, 3.0]
    for loss, y, z in (
        (losses.GammaCE(0.1), [0, 1, 1], [[0.7, 0.3], [0.2, 0.8], [0.6, 0.4]]),
        (losses.GammaBCE(0.1), [1, 0, 1], [0.5, 0.2, 0.9]),
    ):
        assert float(loss(y, z, w)) == float(loss(y, z, np.array(w)))
