"""A batch says whether all that counts in it is possible; a metric is NaN if not."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import losses, metrics
from keras_calib.ops.binary_batch import BinaryBatch, OneLabelBatch
from keras_calib.ops.class_batch import ClassBatch
from tests.backends import BACKEND, every_compiler

NAN, INF = float("nan"), float("inf")
Y = [0, 1]
P = [[0.8, 0.2, 0.0], [0.1, 0.6, 0.3]]
Z = [[2.0, 0.0, -INF], [0.0, 1.0, -1.0]]
ONE_HOT = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def changed(x, row):
    return [row, *x[1:]]


# Labels, predictions, whether they are logits, whether they are possible.
CLASSES = {
    "probabilities": (Y, P, False, True),
    "logits": (Y, Z, True, True),
    "float labels": ([0.0, 1.0], P, False, True),
    "one-hot": (ONE_HOT, P, False, True),
    "soft": (changed(ONE_HOT, [0.5, 0.5, 0.0]), P, False, True),
    "negative": (Y, changed(P, [0.8, -0.2, 0.0]), False, False),
    "negative, sum 1": (Y, changed(P, [0.8, 0.4, -0.2]), False, False),
    "above 1": (Y, changed(P, [1.2, -0.2, 0.0]), False, False),
    "sum 1/2": (Y, changed(P, [0.4, 0.1, 0.0]), False, False),
    "percent": (Y, changed(P, [80.0, 20.0, 0.0]), False, False),
    "logits read as probabilities": (Y, changed(P, [2.0, 0.0, -1.0]), False, False),
    "NaN": (Y, changed(P, [0.8, NAN, 0.0]), False, False),
    "inf": (Y, changed(P, [0.8, INF, 0.0]), False, False),
    "inf - inf": (Y, changed(P, [INF, -INF, 0.0]), False, False),
    "NaN logit": (Y, changed(Z, [0.8, NAN, 0.0]), True, False),
    "inf logit": (Y, changed(Z, [0.8, INF, 0.0]), True, False),
    "-inf logits": (Y, changed(Z, [-INF, -INF, -INF]), True, False),
    "K": ([3, 1], P, False, False),
    "-1": ([-1, 1], P, False, False),
    "K of logits": ([3, 1], Z, True, False),
    "between classes": ([0.5, 1.0], P, False, False),
    "NaN label": ([NAN, 1.0], P, False, False),
    "soft, sum 2": (changed(ONE_HOT, [1.0, 1.0, 0.0]), P, False, False),
    "soft, negative": (changed(ONE_HOT, [1.2, -0.2, 0.0]), P, False, False),
}
BINARY = {
    "probabilities": ([[0, 1], [1, 1]], [[0.2, 0.9], [0.0, 1.0]], False, True),
    "soft": ([[0.5, 1], [1, 1]], [[0.2, 0.9], [0.0, 1.0]], False, True),
    "logits": ([[0, 1], [1, 1]], [[-30.0, 2.0], [0.0, 1.0]], True, True),
    "negative": ([[0, 1], [1, 1]], [[-0.2, 0.9], [0.0, 1.0]], False, False),
    "above 1": ([[0, 1], [1, 1]], [[1.2, 0.9], [0.0, 1.0]], False, False),
    "NaN": ([[0, 1], [1, 1]], [[NAN, 0.9], [0.0, 1.0]], False, False),
    "NaN logit": ([[0, 1], [1, 1]], [[NAN, 2.0], [0.0, 1.0]], True, False),
    "-1": ([[-1, 1], [1, 1]], [[0.2, 0.9], [0.0, 1.0]], False, False),
    "2": ([[2, 1], [1, 1]], [[0.2, 0.9], [0.0, 1.0]], False, False),
    "NaN label": ([[NAN, 1], [1, 1]], [[0.2, 0.9], [0.0, 1.0]], False, False),
}
class_cases = pytest.mark.parametrize("case", CLASSES)
binary_cases = pytest.mark.parametrize("case", BINARY)


def read(table, case):
    y, p, from_logits, sound = table[case]
    return np.asarray(y), np.asarray(p, "float32"), from_logits, sound


@class_cases
@pytest.mark.parametrize("tensors", [True, False])
def test_classes(case, tensors):
    y, p, from_logits, sound = read(CLASSES, case)
    if tensors:
        y, p = ops.convert_to_tensor(y), ops.convert_to_tensor(p)
    assert bool(ClassBatch(y, p, from_logits=from_logits).sound) is sound
    # What has weight 0 does not count.
    weight = np.array([0.0, 1.0], "float32")
    assert bool(ClassBatch(y, p, weight, from_logits=from_logits).sound)


@binary_cases
@pytest.mark.parametrize("tensors", [True, False])
def test_binary_labels(case, tensors):
    y, p, from_logits, sound = read(BINARY, case)
    if tensors:
        y, p = ops.convert_to_tensor(y), ops.convert_to_tensor(p)
    weight = np.array([0.0, 1.0], "float32")
    for kind, columns in ((BinaryBatch, slice(None)), (OneLabelBatch, slice(0, 1))):
        read_as = y[:, columns], p[:, columns]
        assert bool(kind(*read_as, from_logits=from_logits).sound) is sound
        assert bool(kind(*read_as, weight, from_logits=from_logits).sound)


def test_ignored_labels_do_not_count():
    p = np.array([[NAN, 7.0, 0.0], P[1]], "float32")
    assert bool(ClassBatch([-1, 1], p, ignore_class=-1).sound)
    assert not bool(ClassBatch([-1, 3], p, ignore_class=-1).sound)
    p = np.array([[NAN, 0.9], [0.0, 1.0]], "float32")
    assert bool(BinaryBatch([[-1, 1], [1, 1]], p, ignore_class=-1).sound)
    assert not bool(BinaryBatch([[-1, 2], [1, 1]], p, ignore_class=-1).sound)
    assert bool(OneLabelBatch([-1, 1], p[:, 0], ignore_class=-1).sound)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("k", [2, 10, 1000])
def test_half_precision_is_sound(dtype, k):
    rng = np.random.default_rng(0)
    z = ops.cast(3.0 * rng.normal(size=(256, k)), dtype)
    for p in (ops.softmax(z), ops.cast(ops.softmax(ops.cast(z, "float32")), dtype)):
        assert bool(ClassBatch(np.zeros(256, int), p).sound)


def test_no_samples_are_sound():
    assert bool(ClassBatch(np.zeros(0, int), np.zeros((0, 3), "float32")).sound)


EVERY_CLASS_METRIC = [
    metrics.AURC,
    metrics.AccuracyAtCoverage,
    metrics.BrierDecomposition,
    metrics.BrierScore,
    metrics.CalibrationGap,
    metrics.ClasswiseECE,
    metrics.ExpectedCalibrationError,
    metrics.KSCalibrationError,
    metrics.MaximumCalibrationError,
    metrics.NegativeLogLikelihood,
    metrics.PredictiveEntropy,
    metrics.SmoothECE,
    metrics.TopKCalibrationError,
]


def state(metric):
    return [ops.convert_to_numpy(v) for v in metric.variables]


def compiled(compiler, metric, y, p):
    """Updates a metric in a compiled step."""
    if BACKEND == "jax":
        step = compiler(metric.stateless_update_state)
        variables = step([v.value for v in metric.variables], y, p)
        for variable, value in zip(metric.variables, variables, strict=True):
            variable.assign(value)
    else:
        compiler(metric.update_state)(*map(ops.convert_to_tensor, (y, p)))


def made(cls):
    arguments = {"k": 2} if cls is metrics.TopKCalibrationError else {}
    metric = cls(**arguments)
    metric.update_state(np.array(Y), np.array(P, "float32"))  # makes its variables
    return metric


@pytest.mark.parametrize("cls", EVERY_CLASS_METRIC)
@pytest.mark.parametrize("case", ["negative, sum 1", "-1", "between classes"])
def test_a_metric_is_nan_until_it_is_reset(cls, case):
    metric, (y, p, *_) = made(cls), read(CLASSES, case)
    metric.update_state(y, p)
    metric.update_state(np.array(Y), np.array(P, "float32"))
    assert all(np.isnan(ops.convert_to_numpy(sums)).all() for sums in state(metric))
    metric.reset_state()
    assert all((sums == 0).all() for sums in state(metric))


@pytest.mark.thorough
@every_compiler
@pytest.mark.parametrize("cls", EVERY_CLASS_METRIC)
@pytest.mark.parametrize("case", ["negative, sum 1", "-1", "K"])
def test_in_a_compiled_step_too(compiler, cls, case):
    metric, (y, p, *_) = made(cls), read(CLASSES, case)
    compiled(compiler, metric, y, p)
    assert all(np.isnan(sums).all() for sums in state(metric))


@every_compiler
def test_a_compiled_batch_that_is_sound_counts(compiler):
    metric = made(metrics.ExpectedCalibrationError)
    expected = float(metric.result())
    compiled(compiler, metric, np.array(Y), np.array(P, "float32"))
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


@binary_cases
def test_binary_metrics_are_nan_too(case):
    y, p, from_logits, sound = read(BINARY, case)
    for metric in (
        metrics.BinaryECE(from_logits=from_logits),
        metrics.BrierScore(from_logits=from_logits),
        metrics.MultilabelECE(from_logits=from_logits),
    ):
        every = isinstance(metric, metrics.MultilabelECE)
        metric.update_state(*((y, p) if every else (y[:, 0], p[:, :1])))
        assert np.isfinite(float(metric.result())) == sound


def test_a_set_of_metrics_is_nan_too():
    both = [metrics.ExpectedCalibrationError(), metrics.BrierScore()]
    both = metrics.CalibrationMetrics(both)
    both.update_state([0, -1], np.array(P, "float32"))
    assert all(np.isnan(float(x)) for x in both.result().values())


def test_a_fit_shows_nan():
    """A model of logits, and a metric that takes them for probabilities."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    ece = metrics.ExpectedCalibrationError()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=[ece])
    x, y = np.eye(2, dtype="float32"), np.array(Y)
    history = model.fit(x, y, epochs=1, verbose=0, validation_data=(x, y)).history
    assert np.isnan(history["ece"]).all()
    assert np.isnan(history["val_ece"]).all()


def test_equal_scores_are_of_the_first_class():
    p = np.full((512, 10), 0.1, "float32")
    batch = ClassBatch(np.zeros(512, int), ops.convert_to_tensor(p))
    assert ops.convert_to_numpy(batch.hit).all()
    p[:, :5] = 0.0
    batch = ClassBatch(np.full(512, 6), ops.convert_to_tensor(p))
    assert not ops.convert_to_numpy(batch.hit).any()
    assert ops.convert_to_numpy(batch.top(2).hit).all()
    assert not ops.convert_to_numpy(ClassBatch(np.full(512, 7), p).top(2).hit).any()


@every_compiler
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("label", [-1, 3, 0.5, 1.5])
def test_a_compiled_loss_is_nan_where_a_label_is_no_class(compiler, from_logits, label):
    x = np.array(Z if from_logits else P, "float32")
    loss = losses.GammaCE(0.1, from_logits=from_logits, reduction=None)
    for function in (loss, compiler(loss)):
        found = function(np.array([label, 1.0], "float32"), x)
        assert np.isnan(ops.convert_to_numpy(found)).tolist() == [True, False]
    ignoring = losses.GammaCE(0.1, from_logits=from_logits, ignore_class=-1)
    found = float(compiler(ignoring)(np.array([label, -1], "float32"), x))
    assert np.isnan(found) == (label != -1)


@pytest.mark.parametrize("label", [-1, 3, 0.5])
def test_an_eager_loss_too(label):
    x = np.array(Z, "float32")
    found = losses.GammaCE(0.1, from_logits=True, reduction=None)([label, 1.0], x)
    assert np.isnan(ops.convert_to_numpy(found)).tolist() == [True, False]


# torch has no uint64, and says so.
@pytest.mark.parametrize("dtype", ["int64"] + ["uint64"] * (BACKEND != "torch"))
def test_labels_beyond_int32_are_no_classes(dtype):
    """JAX without 64-bit types would read 2^32 + 1 as class 1."""
    y, p = np.array([2**32 + 1, 0], dtype), np.array([[0.3, 0.7], [0.6, 0.4]])
    assert np.isnan(float(losses.GammaCE(0.1)(y, p)))
    found = ops.convert_to_numpy(losses.gamma_ce(y, p, 0.1))
    assert np.array_equal(np.isnan(found), [True, False])
    metric = metrics.ExpectedCalibrationError()
    metric.update_state(y, p)
    assert np.isnan(float(metric.result()))
