"""Metrics of token statistics against those of the logits."""

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
from keras import ops

from keras_calib import losses, metrics
from keras_calib._keras import set_keras_mask
from keras_calib.losses import GammaCE, linear_loss
from keras_calib.ops import TokenStatistics
from keras_calib.ops.token_statistics import FIGURES
from tests.backends import BACKEND, every_compiler, tensorflow_only

N, D, K = 24, 4, 5

TAKE = [
    metrics.ExpectedCalibrationError,
    metrics.MaximumCalibrationError,
    metrics.CalibrationGap,
    metrics.SmoothECE,
    metrics.KSCalibrationError,
    metrics.BrierScore,
    metrics.NegativeLogLikelihood,
    metrics.Perplexity,
    metrics.PredictiveEntropy,
    metrics.AURC,
    metrics.AccuracyAtCoverage,
]
REFUSE = [
    metrics.ClasswiseECE,
    metrics.TopKCalibrationError,
    metrics.BrierDecomposition,
    metrics.MultilabelECE,
    metrics.BinaryECE,
]


def batch(*shape):
    """Returns labels, logits with ties, and weights."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 3, (*(shape or (N,)), K)).astype("float32").round(1)
    z[0], z[1, ..., 1:] = 0.0, z[1].max()
    y = rng.integers(0, K, z.shape[:-1])
    return y, z, rng.uniform(0.0, 2.0, z.shape[:-1]).astype("float32")


def results(metric, *given):
    metric.update_state(*given)
    found = metric.result()
    found = found if isinstance(found, dict) else {"": found}
    return [float(x) for x in found.values()]


@pytest.mark.parametrize("kind", TAKE)
def test_the_figures_are_those_of_the_logits(kind):
    y, z, weight = batch(6, 4)
    y[2] = -1
    found = TokenStatistics.of(np.where(y < 0, 0, y), z)
    for given in ({}, {"class_reduction": "mean"}):
        if given and kind is not metrics.BrierScore:
            continue
        pair = [kind(from_logits=True, ignore_class=-1, **given) for _ in range(2)]
        expected = results(pair[0], y, z, weight)
        assert np.allclose(
            results(pair[1], y, found, weight), expected, rtol=1e-6, atol=1e-6
        )


def test_a_set_of_metrics_takes_them():
    y, z, _ = batch()
    loss = GammaCE(0.1, from_logits=True)
    found, expected = (
        results(metrics.CalibrationMetrics.like(loss), y, given)
        for given in (TokenStatistics.of(y, z), z)
    )
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", REFUSE)
def test_what_needs_more_refuses_them(kind):
    y, z, _ = batch()
    with pytest.raises(ValueError, match="TokenStatistics"):
        kind(from_logits=True).update_state(y, TokenStatistics.of(y, z))


def test_they_are_no_predictions_of_five_classes():
    import keras

    y, z, _ = batch()
    found = TokenStatistics.of(y, z)
    assert found.shape == (N, K)
    with pytest.raises((ValueError, TypeError, AttributeError)):
        keras.metrics.SparseCategoricalAccuracy().update_state(y, found)
    with pytest.raises((ValueError, TypeError, AttributeError)):
        GammaCE(0.1, from_logits=True)(y, found)


def test_targets_are_refused():
    _, z, _ = batch()
    with pytest.raises(ValueError, match="integer labels"):
        TokenStatistics.of(np.eye(K)[[0] * N], z)


@pytest.mark.parametrize("label", [-1, K, 0.5])
def test_a_label_that_is_no_class_makes_a_metric_nan(label):
    y, z, _ = batch()
    y = y.astype("float64")
    y[3] = label
    metric = metrics.ExpectedCalibrationError(from_logits=True)
    assert np.isnan(results(metric, y, TokenStatistics.of(y, z)))
    weight = np.arange(N) != 3
    metric = metrics.ExpectedCalibrationError(from_logits=True)
    found = results(metric, y, TokenStatistics.of(y, z), weight)
    assert np.isfinite(found)


def test_a_logit_that_is_no_number_makes_a_metric_nan():
    y, z, _ = batch()
    for wrong in (np.nan, np.inf):
        z[3, 1] = wrong
        metric = metrics.BrierScore(from_logits=True)
        assert np.isnan(results(metric, y, TokenStatistics.of(y, z)))


def test_extreme_logits():
    z = np.array([[1e4, -1e4, 0, 0, 0], [-np.inf, 3, 3, -1e30, 0]], "float32")
    y = np.array([1, 2])
    found = TokenStatistics.of(y, z)
    for kind in (metrics.NegativeLogLikelihood, metrics.PredictiveEntropy):
        pair = [kind(from_logits=True) for _ in range(2)]
        assert np.allclose(results(pair[0], y, found), results(pair[1], y, z), 1e-6)
    assert [float(x) for x in ops.convert_to_numpy(found.hit)] == [0.0, 0.0]


def test_every_digit_of_a_sure_prediction():
    """1 - p is 1e-9, of which the difference from 1 would keep no digit."""
    z, y = np.array([[21.0, 0.0, 0.5, -1.0, -np.inf]] * 2, "float32"), np.array([0, 1])
    found = TokenStatistics.of(y, z)
    p = np.exp(z[0].astype("d")) / np.exp(z[0].astype("d")).sum()
    rest = p[1:].sum()
    expected = {
        "log_probability": [np.log1p(-rest), np.log(p[1])],
        "entropy": [-(p[:4] * np.log(p[:4])).sum()] * 2,
        "squared_error": [
            rest**2 + (p[1:] ** 2).sum(),
            ((p - np.eye(K)[1]) ** 2).sum(),
        ],
        "confidence": [p[0]] * 2,
        "hit": [1.0, 0.0],
    }
    for name, values in expected.items():
        given = ops.convert_to_numpy(getattr(found, name))
        # What log(1 + x) adds to an entropy where another class is sure is below 1e-8.
        np.testing.assert_allclose(
            given, values, rtol=2e-6, atol=1e-8 * (name == "entropy"), err_msg=name
        )


def test_an_empty_batch_and_a_mask():
    y, z, _ = batch()
    metric = metrics.ExpectedCalibrationError(from_logits=True)
    metric.update_state(y[:0], TokenStatistics.of(y[:0], z[:0]))
    z = ops.convert_to_tensor(z)
    mask = np.arange(N) % 3 > 0
    set_keras_mask(z, ops.convert_to_tensor(mask))
    metric.update_state(y, TokenStatistics.of(y, z))
    expected = metrics.ExpectedCalibrationError(from_logits=True)
    given = ops.convert_to_numpy(z)[mask]
    assert np.isclose(float(metric.result()), *results(expected, y[mask], given))


def test_half_precision():
    y, z, _ = batch()
    pair = [metrics.BrierScore(from_logits=True) for _ in range(2)]
    half = ops.cast(z, "bfloat16")
    found = results(pair[0], y, TokenStatistics.of(y, half))
    assert np.allclose(found, results(pair[1], y, half), atol=1e-6)


def each(statistics):
    return [getattr(statistics, name) for name in FIGURES]


def assert_alike(found, expected, **tolerance):
    for pair in zip(each(found), each(expected), strict=True):
        np.testing.assert_allclose(*map(ops.convert_to_numpy, pair), **tolerance)


def head():
    rng = np.random.default_rng(1)
    shapes = (N, D), (D, K), (K,)
    return rng.integers(0, K, N), *(2 * rng.random(s, "float32") for s in shapes)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", None])
def test_a_linear_loss_yields_them(reduction):
    y, hidden, kernel, bias = head()
    loss = GammaCE(0.1, from_logits=True, reduction=reduction)
    z = 3.0 * np.tanh((hidden @ kernel + bias) / 3.0)
    how = {"logit_soft_cap": 3.0, "chunk_size": 7}
    value, found = linear_loss(
        loss, y, hidden, kernel, bias, return_statistics=True, **how
    )
    expected = linear_loss(loss, y, hidden, kernel, bias, **how)
    assert np.allclose(ops.convert_to_numpy(value), ops.convert_to_numpy(expected))
    assert_alike(found, TokenStatistics.of(y, z), rtol=2e-6, atol=2e-6)
    assert found.num_classes == K


@every_compiler
def test_they_leave_a_differentiated_compiled_function(compiler):
    from tests.losses.test_linear import step

    y, hidden, kernel, bias = map(ops.convert_to_tensor, head())
    loss = GammaCE(0.1, from_logits=True)

    def both(kernel):
        return linear_loss(loss, y, hidden, kernel, bias, return_statistics=True)

    if BACKEND == "jax":
        import jax

        (_, found), gradient = jax.jit(jax.value_and_grad(both, has_aux=True))(kernel)
    else:
        import tensorflow as tf

        @compiler
        def run(kernel):
            with tf.GradientTape() as tape:
                tape.watch(kernel)
                value, found = both(kernel)
            return each(found), tape.gradient(value, kernel)

        figures, gradient = run(kernel)
        found = TokenStatistics(
            **dict(zip(FIGURES, figures, strict=True)), num_classes=K
        )
    assert_alike(found, both(kernel)[1], rtol=1e-5, atol=1e-6)
    plain = step(lambda w: linear_loss(loss, y, hidden, w, bias), kernel)[1]
    np.testing.assert_allclose(gradient, plain, rtol=1e-5, atol=1e-7)


def test_they_are_copied_and_pickled():
    y, z, _ = batch()
    found = TokenStatistics.of(y, z)
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert other.num_classes == K
        assert np.allclose(
            *(ops.convert_to_numpy(x.entropy) for x in (found, other)), equal_nan=True
        )


@pytest.mark.parametrize("kind", [*TAKE, metrics.Accuracy, metrics.CalibrationMetrics])
def test_a_metric_says_what_it_reads(kind):
    y, hidden, kernel, bias = head()
    loss, metric = GammaCE(0.1, from_logits=True), kind(from_logits=True)
    given = {"return_statistics": metric.reads, "chunk_size": 7}
    _, found = linear_loss(loss, y, hidden, kernel, bias, **given)
    absent = {name for name in FIGURES[1:] if getattr(found, name) is None}
    assert absent == set(FIGURES[1:]) - set(metric.reads)
    every = TokenStatistics.of(y, hidden @ kernel + bias)
    expected = results(kind(from_logits=True), y, every)
    assert results(metric, y, found) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_what_was_not_asked_for_is_named():
    class Doubt(metrics.NegativeLogLikelihood):
        def values(self, batch):
            return batch.entropy

    y, hidden, kernel, bias = head()
    loss = GammaCE(0.1, from_logits=True)

    def of(asked):
        how = {"return_statistics": asked}
        return linear_loss(loss, y, hidden, kernel, bias, **how)[1]

    with pytest.raises(ValueError, match="reads 'entropy', .* attribute `reads`"):
        Doubt(from_logits=True).update_state(y, of(Doubt.reads))
    for wrong in (["entropies"], "entropy"):
        with pytest.raises(ValueError, match="`return_statistics` must be .*'entropy'"):
            of(wrong)


def test_of_equal_logits_the_first_is_predicted():
    """The label is the first of the largest, or the last, or they are not its own."""
    z = np.array([[0, 5, 1, 5], [5, 5, 0, 0], [5, 0, 5, 0], [1, 2, 3, 3]], "float32")
    for y, hits in (([1, 0, 2, 0], [1, 1, 0, 0]), ([3, 1, 0, 2], [0, 0, 1, 1])):
        found = TokenStatistics.of(np.array(y), z).hit
        assert ops.convert_to_numpy(found).tolist() == hits


def _nodes(names):
    """Returns how many operations of each kind the graph of a loss holds."""
    import tensorflow as tf

    y, *given = head()
    loss = GammaCE(0.1, from_logits=True)

    def f(*x):
        how = {"return_statistics": names, "chunk_size": 7}
        return [x for x in each(linear_loss(loss, y, *x, **how)[1]) if x is not None]

    graph = tf.function(f).get_concrete_function(*given).graph.as_graph_def()
    nodes = [n for f in graph.library.function for n in f.node_def]
    return Counter(node.op for node in [*graph.node, *nodes])


@tensorflow_only
def test_what_no_metric_reads_is_not_computed():
    """A loop of TensorFlow computes all that it returns."""
    costs = {"TopKV2": "hit", "MulNoNan": "entropy", "EuclideanNorm": "squared_error"}
    none = _nodes(())
    for one in costs.values():
        found = _nodes([one])
        assert {name for op, name in costs.items() if found[op] > none[op]} == {one}


def test_of_losses_alone_nothing_is_seen():
    """The pass without statistics computes none."""
    y, hidden, kernel, bias = head()
    loss = losses.GammaCE(0.1, from_logits=True)
    assert ops.shape(linear_loss(loss, y, hidden, kernel, bias)) == ()
