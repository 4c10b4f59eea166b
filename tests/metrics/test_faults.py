"""What a fault in the data does to every metric: NaN, never a plausible figure."""

import inspect

import numpy as np
import pytest
from keras import ops

from keras_calib import metrics
from tests.backends import BACKEND, not_on_torch, tensorflow_only
from tests.metrics.reference import TABLE, assert_close, assert_nan, data, figures

every_metric = pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
every_metric_of_classes = pytest.mark.parametrize(
    "row", [pytest.param(r, id=n) for n, r in TABLE.items() if r.kind == "classes"]
)
ROW = 7  # the sample at fault


def with_row(x, value):
    x = x.copy()
    x[ROW] = value
    return x


# What no sample is: functions of the number of classes, labels and predictions.
FAULTS = {
    "nan": lambda k, y, p: (y, with_row(p, np.nan)),
    "nan_alone": lambda k, y, p: (y, np.full_like(p, np.nan)),
    "inf": lambda k, y, p: (y, with_row(p, np.inf)),
    "minus_inf": lambda k, y, p: (y, with_row(p, -np.inf)),
    "above_1": lambda k, y, p: (y, with_row(p, 1.5)),
    "below_0": lambda k, y, p: (y, with_row(p, -0.5)),
    "logits": lambda k, y, p: (y, np.log(p) + 3.0),
    "percentages": lambda k, y, p: (y, 100.0 * p),
    "label_too_large": lambda k, y, p: (with_row(y, k), p),
    "label_below_0": lambda k, y, p: (with_row(y, -1), p),
    "label_nan": lambda k, y, p: (with_row(y, np.nan), p),
}
# And of classes.
FAULTS_OF_CLASSES = {
    "sums_of_a_half": lambda k, y, p: (y, 0.5 * p),
    "below_0_and_sum_1": lambda k, y, p: (y, with_row(p, [0.8, 0.6, -0.4, 0, 0])),
    "label_not_whole": lambda k, y, p: (with_row(y, 1.5), p),
}
# What no weight is.
FAULTY_WEIGHTS = {
    "weight_nan": lambda w: with_row(w, np.nan),
    "weight_inf": lambda w: with_row(w, np.inf),
}


def sample(row):
    """Labels as floats, so that any may be NaN; predictions and weights above 0."""
    y, p, w = data(row.kind, n=40)
    return y.astype("float32"), p, w + 1.0


def faulty_samples(row):
    found = FAULTS | FAULTS_OF_CLASSES if row.kind == "classes" else FAULTS
    y, p, w = sample(row)
    k = p.shape[-1] if row.kind == "classes" else 2
    return {name: (*fault(k, y, p), w) for name, fault in found.items()}


def faults_of(row):
    y, p, w = sample(row)
    weights = {name: (y, p, fault(w)) for name, fault in FAULTY_WEIGHTS.items()}
    return faulty_samples(row) | weights


def nothing(row):
    """Samples of which none counts."""
    y, p, w = sample(row)
    return y, p, 0.0 * w


def measured(row, y, p, w=None, **kwargs):
    metric = row.make(**kwargs)
    metric.update_state(y, p, w)
    return metric.result()


def compiled(row, jit_compile):
    """Returns a compiled function of labels, predictions and weights."""
    metric = row.make()
    metric.update_state(*sample(row))
    if BACKEND == "jax":
        import jax

        zeros = [np.zeros(v.shape, "float32") for v in metric.variables]

        @jax.jit
        def step(y, p, w):
            return metric.stateless_result(
                metric.stateless_update_state(zeros, y, p, w)
            )

        return step
    import tensorflow as tf

    @tf.function(jit_compile=jit_compile)
    def step(y, p, w):
        metric.reset_state()
        metric.update_state(y, p, w)
        return metric.result()

    return step


def test_the_table_holds_every_metric():
    every = {
        cls
        for cls in vars(metrics).values()
        if inspect.isclass(cls)
        and issubclass(cls, metrics.CalibrationMetric)
        and not inspect.isabstract(cls)
        and cls is not metrics.BinnedMetric
    }
    assert every == {type(row.make()) for row in TABLE.values()}


@pytest.mark.thorough
@every_metric
def test_a_fault_is_nan_until_the_state_is_reset(row):
    good = sample(row)
    expected = measured(row, *good)
    metric = row.make()
    for faulty in faults_of(row).values():
        metric.reset_state()
        for batch in (good, faulty, good):
            metric.update_state(*batch)
        assert_nan(metric.result())
    for faulty in (*faults_of(row).values(), nothing(row)):
        assert_nan(measured(row, *faulty))
        assert_nan(measured(row, *faulty, dtype="float64"))
    metric.reset_state()
    metric.update_state(*good)
    assert_close(metric.result(), expected)


@pytest.mark.thorough
@not_on_torch
@every_metric
@pytest.mark.parametrize(
    "jit_compile",
    [
        pytest.param(False, marks=tensorflow_only),
        pytest.param(True, marks=pytest.mark.slow if BACKEND == "tensorflow" else ()),
    ],
)
def test_a_fault_is_nan_in_a_compiled_step(row, jit_compile):
    step = compiled(row, jit_compile)
    good = sample(row)
    assert_close(step(*map(ops.convert_to_tensor, good)), measured(row, *good), 2e-6)
    faults = {**faults_of(row), "nothing": nothing(row)}
    for name, faulty in faults.items():
        found = figures(step(*(ops.convert_to_tensor(x, "float32") for x in faulty)))
        assert np.isnan(list(found.values())).all(), (name, found)


@every_metric
def test_faults_of_logits(row):
    y, p, w = sample(row)
    z = np.log(p) if row.kind == "classes" else np.log(p) - np.log1p(-p)
    found = figures(measured(row, y, z, w, from_logits=True))
    assert np.isfinite(list(found.values())).all()
    bad = [with_row(z, np.nan), np.full_like(z, np.nan)]
    if row.kind == "classes":  # a sigmoid of infinity is 1
        bad += [with_row(z, np.inf), with_row(z, -np.inf)]
    for scores in bad:
        assert_nan(measured(row, y, scores, w, from_logits=True))


@every_metric
def test_faults_of_what_does_not_count_are_ignored(row):
    y, p, w = sample(row)
    kept = np.arange(len(y)) != ROW
    expected = measured(row, y[kept], p[kept], w[kept])
    for bad_y, bad_p, _ in faulty_samples(row).values():
        bad_y, bad_p = (
            np.where(kept.reshape(-1, *[1] * (good.ndim - 1)), good, bad)
            for good, bad in ((y, bad_y), (p, bad_p))
        )
        assert_close(measured(row, bad_y, bad_p, w * kept), expected, 2e-6)


@every_metric_of_classes
@pytest.mark.parametrize("k", [2, 5])
def test_of_equal_scores_the_first_class_is_predicted(row, k):
    k = max(k, row.min_classes)
    y = np.array([0, 0, 0, 1])
    p, w = np.full((4, k), 1 / k, "float32"), np.ones(4)
    if not row.splits_ties:
        expected = row.expected(y, p.astype("float64"), w)
        assert_close(measured(row, y, p), expected, row.atol)
    assert_close(measured(row, y, 0 * p, from_logits=True), measured(row, y, p), 1e-6)


@every_metric_of_classes
def test_a_class_may_be_masked_by_minus_infinity(row):
    y, p, w = sample(row)
    p = p.copy()
    p[:, 3] = 0.0
    p /= p.sum(-1, keepdims=True)
    y[y == 3] = 0
    with np.errstate(divide="ignore"):
        z = np.log(p)
    expected = measured(row, y, p, w)
    assert np.isfinite(list(figures(expected).values())).all()
    assert_close(measured(row, y, z, w, from_logits=True), expected, 2e-6)
    one_hot = np.eye(p.shape[-1], dtype="float32")[y.astype(int)]
    assert_close(measured(row, one_hot, z, w, from_logits=True), expected, 2e-6)


@every_metric
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_no_fault(row, dtype):
    y, p, w = sample(row)
    half = ops.cast(p, dtype)
    assert np.isfinite(list(figures(measured(row, y, half, w)).values())).all()


@pytest.mark.thorough
@tensorflow_only
@every_metric
def test_unknown_shapes_are_read_or_refused_in_words(row):
    import tensorflow as tf

    y, p, w = sample(row)
    expected = measured(row, y, p, w)

    def traced(*shapes):
        metric = row.make()

        @tf.function(input_signature=[tf.TensorSpec(s, "float32") for s in shapes])
        def step(y, p, w):
            metric.update_state(y, p, w)
            return metric.result()

        return step(y, p, w)

    any_size = [None] * y.ndim
    assert_close(traced(any_size, [None, p.shape[1]], [None]), expected, 2e-6)
    of_labels = None, [None, p.shape[1]], [None]
    with pytest.raises(ValueError, match=r"`y_pred` must have a static rank"):
        traced(any_size, None, [None])
    try:
        found = traced(*of_labels)
    except ValueError as error:
        assert "`y_true` must have a static rank" in str(error)
    else:
        assert_close(found, expected, 2e-6)
