"""What every metric keeps to: one table, one set of checks."""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib._keras import set_keras_mask
from tests.backends import (
    BACKEND,
    needs_float64,
    not_on_torch,
    slow_on_jax,
    tensorflow_only,
)
from tests.metrics.reference import (
    TABLE,
    assert_close,
    assert_nan,
    data,
    figures,
    one_hot,
)

every_metric = pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
CLASSES = {name: row for name, row in TABLE.items() if row.kind == "classes"}
every_metric_of_classes = pytest.mark.parametrize("row", CLASSES.values(), ids=CLASSES)


def measure(row, y, p, w=None, **kwargs):
    metric = row.make(**kwargs)
    metric.update_state(y, p, w)
    return metric.result()


@every_metric
@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float64", marks=needs_float64)]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_value_is_that_of_the_definition(row, dtype, weighted):
    y, p, w = data(row.kind)
    w = w if weighted else np.ones_like(w)
    found = measure(row, y, p, w if weighted else None, dtype=dtype)
    atol = row.atol if row.atol > 1e-5 or dtype == "float32" else 1e-9
    assert_close(found, row.expected(y, p.astype("float64"), w.astype("float64")), atol)


@every_metric_of_classes
def test_soft_labels(row):
    _, p, w = data("classes")
    rng = np.random.default_rng(1)
    soft = rng.dirichlet(np.ones(p.shape[1]), len(p)).astype("float32")
    expected = row.expected(soft.astype("float64"), p.astype("float64"), w)
    assert_close(measure(row, soft, p, w), expected, row.atol)


@every_metric_of_classes
def test_label_formats_agree(row):
    y, p, w = data("classes")
    expected = measure(row, y, p, w)
    assert_close(measure(row, y[:, None], p, w), expected)
    assert_close(measure(row, one_hot(y, p).astype("float32"), p, w), expected)


@needs_float64
@every_metric
def test_logits_are_the_probabilities_they_stand_for(row):
    y, p, w = data(row.kind)
    p = p.astype("float64")
    if row.kind == "classes":
        p /= p.sum(-1, keepdims=True)
    z = np.log(p) + 3.0 if row.kind == "classes" else np.log(p) - np.log1p(-p)
    found = measure(row, y, z, w, from_logits=True, dtype="float64")
    assert_close(found, measure(row, y, p, w, dtype="float64"), 1e-9)


@pytest.mark.thorough
@tensorflow_only
@every_metric
def test_a_graph_for_batches_of_any_size_agrees_with_eager(row):
    """`test_faults.py` compiles each metric with XLA."""
    import tensorflow as tf

    y, p, w = data(row.kind)
    expected = measure(row, y, p, w)
    metric = row.make()

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *x.shape[1:]], tf.as_dtype(x.dtype)) for x in (y, p, w)
        ]
    )
    def step(y, p, w):
        metric.update_state(y, p, w)
        return metric.result()

    for part in np.split(np.arange(300), [7, 150]):
        found = step(*map(tf.constant, (y[part], p[part], w[part])))
    assert_close(found, expected, max(1e-6, row.atol / 10))


@slow_on_jax
@every_metric
def test_any_split_of_shuffled_data_agrees(row):
    y, p, w = data(row.kind)
    order = np.random.default_rng(2).permutation(len(y))
    expected = measure(row, y, p, w)
    for sizes in ([1, 99], [25] * 11):
        metric = row.make()
        for part in np.split(order, np.cumsum(sizes)):
            metric.update_state(y[part], p[part], w[part])
        assert_close(metric.result(), expected)


@every_metric
def test_a_weight_of_k_is_k_samples(row):
    y, p, w = data(row.kind)
    again = np.repeat(np.arange(len(y)), w.astype(int))
    assert_close(measure(row, y, p, w), measure(row, y[again], p[again]))


@every_metric
def test_a_mask_drops_samples_be_they_nan(row):
    y, p, w = data(row.kind)
    dropped = w == 0
    expected = measure(row, y[~dropped], p[~dropped])
    p = p.copy()
    p[dropped] = np.nan
    atol = 2e-6
    assert_close(measure(row, y, p, (~dropped).astype("float32")), expected, atol)
    masked = ops.convert_to_tensor(p)
    set_keras_mask(masked, ops.convert_to_tensor(~dropped))
    assert_close(measure(row, y, masked), expected, atol)


@every_metric
def test_an_ignored_label_drops_samples(row):
    y, p, w = data(row.kind)
    if row.kind == "labels":  # a label at a time, not a sample
        y[:, 0] = -1
        found = measure(row, y, p, w, ignore_class=-1)
        others = measure(row, y[:, 1:], p[:, 1:], w)
        assert_close(float(found) * p.shape[1], float(others) * (p.shape[1] - 1))
        return
    dropped = w == 0
    expected = measure(row, y[~dropped], p[~dropped])
    y = y.copy()
    y[dropped] = -1
    assert_close(measure(row, y, p, ignore_class=-1), expected)


@every_metric
def test_reset_state_forgets_all(row):
    y, p, w = data(row.kind)
    metric = row.make()
    metric.update_state(y, p, w)
    metric.reset_state()
    assert_nan(metric.result())
    metric.update_state(y[:50], p[:50], w[:50])
    assert_close(metric.result(), measure(row, y[:50], p[:50], w[:50]))


@every_metric
def test_no_data_is_nan_and_one_sample_is_finite(row):
    y, p, w = data(row.kind)
    assert_nan(row.make().result())
    assert_nan(measure(row, y, p, 0 * w))
    assert_nan(measure(row, y[:0], p[:0]))
    for x in figures(measure(row, y[:1], p[:1])).values():
        assert np.isfinite(x)


@every_metric
def test_config_and_serialization_keep_every_argument(row):
    metric = row.make(from_logits=True, ignore_class=255, dtype="float64")
    config = metric.get_config()
    assert config["from_logits"] is True
    assert config["ignore_class"] == 255
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert type(again) is type(metric)
    assert again.get_config() == config
    assert again.state_dtype == "float64"


@every_metric
@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, copy.copy, lambda metric: pickle.loads(pickle.dumps(metric))],
    ids=["deepcopy", "copy", "pickle"],
)
def test_a_copy_keeps_the_state_and_goes_its_own_way(row, again):
    y, p, w = data(row.kind)
    metric = row.make()
    assert again(metric).get_config() == metric.get_config()
    metric.update_state(y[:100], p[:100], w[:100])
    expected = figures(metric.result())
    copied = again(metric)
    assert figures(copied.result()) == expected
    copied.update_state(y[100:], p[100:], w[100:])
    assert_close(copied.result(), measure(row, y, p, w))
    assert figures(metric.result()) == expected


@every_metric
def test_stateless_update_state(row):
    """On JAX compiled, as a step of `fit` is."""
    y, p, w = data(row.kind)
    metric = row.make()
    metric.update_state(y, p, w)
    metric.reset_state()
    update = metric.stateless_update_state
    if BACKEND == "jax":
        import jax

        update = jax.jit(update)
    state = [ops.convert_to_tensor(v) for v in metric.variables]
    state = update(state, y, p, w)
    assert_close(metric.stateless_result(state), measure(row, y, p, w))
    assert_nan(metric.result())


@every_metric
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_predictions_are_read_in_float32(row, dtype):
    y, p, w = data(row.kind)
    half = ops.cast(p, dtype)
    full = ops.convert_to_numpy(ops.cast(half, "float32"))
    assert_close(measure(row, y, half, w), measure(row, y, full, w))


@every_metric
def test_mismatched_shapes_are_refused_with_both(row):
    y, p, w = data(row.kind)
    with pytest.raises(ValueError, match=r"y_true\.shape=.*y_pred\.shape="):
        measure(row, y[:-1], p)
    with pytest.raises(ValueError, match="`sample_weight` and masks must have"):
        measure(row, y, p, w[:-1])


@every_metric_of_classes
def test_one_sigmoid_belongs_to_binary_ece(row):
    if row.one_probability:
        pytest.skip("takes both")
    with pytest.raises(ValueError, match="BinaryECE"):
        measure(row, np.zeros(4), np.zeros((4, 1)))


@every_metric_of_classes
@pytest.mark.parametrize("k", [2, 1000])
def test_two_and_a_thousand_classes(row, k):
    k = max(k, row.min_classes)
    y, p, w = data("classes", n=60, k=k)
    expected = row.expected(y, p.astype("float64"), w)
    atol = 2e-2 if row.atol > 1e-4 else max(row.atol, 2e-6)
    assert_close(measure(row, y, p, w), expected, atol)


@every_metric_of_classes
def test_images_are_their_pixels(row):
    y, p, _ = data("classes", n=120)
    pixels = measure(row, y.reshape(2, 5, 12), p.reshape(2, 5, 12, 5))
    assert_close(pixels, measure(row, y, p))
    each = measure(row, y.reshape(2, 60), p.reshape(2, 60, 5), np.array([1.0, 2.0]))
    assert_close(each, measure(row, y, p, np.repeat([1.0, 2.0], 60)))


def in_images(x):
    """120 samples as two images of 10 x 6 pixels."""
    return x.reshape(2, 10, 6, *x.shape[1:])


def channels_first(x):
    return np.moveaxis(x, -1, 1)


def label_formats(row, y, p):
    """Labels of images with the classes first, and the same with the classes last."""
    y = in_images(y)
    if row.kind == "labels":
        return [(channels_first(y), y)]
    if row.kind == "binary":
        return [(channels_first(y), y), (y[..., 0], y)]
    targets = in_images(one_hot(in_images(p).argmax(-1).reshape(-1), p))
    return [(y, y), (y[:, None], y), (channels_first(targets), targets)]


@pytest.mark.slow
@every_metric
def test_the_classes_may_lie_along_any_axis(row):
    y, p, w = data(row.kind, n=120)
    images, w = in_images(p), in_images(w)
    first = channels_first(images)
    weights = [(None, None), (w, w), (w[:, 0, 0], w[:, 0, 0]), (w[:, None], w)]
    for of_first, of_last in label_formats(row, y, p):
        for weight, same in weights:
            found = measure(row, of_first, first, weight, axis=1)
            assert_close(found, measure(row, of_last, images, same))
        masked = ops.convert_to_tensor(first)
        set_keras_mask(masked, ops.convert_to_tensor(w > 0))
        found = measure(row, of_first, masked, axis=1)
        assert_close(found, measure(row, of_last, images, 1.0 * (w > 0)))
    y = in_images(y)
    y[:, :3] = -1
    expected = measure(row, y, images, ignore_class=-1)
    y = y if row.kind == "classes" else channels_first(y)
    assert_close(measure(row, y, first, ignore_class=-1, axis=-3), expected)


@every_metric
@pytest.mark.parametrize("axis", [3, -4, 99])
def test_an_axis_that_is_not_there_is_refused(row, axis):
    y, p, _ = data(row.kind, n=12)
    y, p = y.reshape(4, 3, *y.shape[1:]), p.reshape(4, 3, -1)
    with pytest.raises(ValueError, match=f"`axis` must be .*axis={axis}, y_pred"):
        measure(row, y, p, axis=axis)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compile_options", "names", "batch_size"),
    [
        ({"jit_compile": False}, ["ece", "brier_score", "classwise_ece"], 12),
        ({"run_eagerly": True}, list(CLASSES), 12),
        # XLA compiles for minutes, and once more for a smaller last batch.
        pytest.param({"jit_compile": True}, list(CLASSES), 16, marks=not_on_torch),
        pytest.param(
            {"jit_compile": False, "steps_per_execution": 4},
            list(CLASSES),
            12,
            marks=not_on_torch,
        ),
    ],
    ids=["graph", "eager", "xla", "steps_per_execution"],
)
def test_in_a_compiled_model(compile_options, names, batch_size):
    rows, model, batches = compiled(names, batch_size, **compile_options)
    found = model.evaluate(**batches)
    for name, row in rows.items():
        for part, value in figures(measure(row, *data("classes", n=64))).items():
            assert_close(found[part or name], value, 2e-6)


@pytest.mark.slow
def test_after_loading(tmp_path):
    _, model, batches = compiled(list(CLASSES), 12, run_eagerly=True)
    found = model.evaluate(**batches)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").evaluate(**batches)
    assert again.keys() == found.keys()
    for name, value in found.items():
        assert_close(again[name], value, 2e-6)


def compiled(names, batch_size, **options):
    """Returns the rows of metrics, a model that has them, and how to evaluate it."""
    y, p, w = data("classes", n=64)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
    rows = {name: CLASSES[name] for name in names if not CLASSES[name].same_names}
    model.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        weighted_metrics=[row.make() for row in rows.values()],
        **options,
    )
    batches = {"x": np.log(p), "y": y, "sample_weight": w, "batch_size": batch_size}
    return rows, model, {**batches, "return_dict": True, "verbose": 0}


def test_mixed_precision():
    y, p, _ = data("classes", n=64)
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
        rows = [CLASSES["ece"], CLASSES["brier_score"]]
        model.compile(
            "sgd", "sparse_categorical_crossentropy", metrics=[r.make() for r in rows]
        )
        z = np.log(p)
        found = model.evaluate(z, y, return_dict=True, verbose=0)
        half = model.predict(z, verbose=0)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert half.dtype == np.float16
    for row in rows:
        assert_close(found[row.name], measure(row, y, half), 2e-6)


@pytest.mark.parametrize("name", ["k", "num_bins"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "many", True])
def test_counts_must_be_whole_and_positive(name, value):
    for row in TABLE.values():
        if name in row.make().get_config():
            arguments = row.make().get_config()
            arguments[name] = value
            with pytest.raises(ValueError, match=f"`{name}` must be a whole number"):
                type(row.make())(**arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("norm", "l3"),
        ("binning", "quantile"),
        ("definition", "both"),
        ("by", "class"),
        ("class_reduction", "none"),
        ("threshold", 1.5),
        ("coverage", 0.0),
    ],
)
def test_unknown_arguments_are_refused_with_what_is_allowed(name, value):
    tried = 0
    for row in TABLE.values():
        arguments = row.make().get_config()
        if name in arguments:
            arguments[name] = value
            with pytest.raises(ValueError, match=f"`{name}` must be .*Received"):
                type(row.make())(**arguments)
            tried += 1
    assert tried


def test_more_classes_than_there_are():
    with pytest.raises(ValueError, match="number of classes, 2. Received: 3"):
        measure(TABLE["top_k_calibration_error"], np.zeros(4), np.zeros((4, 2)))
