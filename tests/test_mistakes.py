"""The mistakes of the first hour: a wrong input gives an error or NaN, no figure."""

import keras
import numpy as np
import pytest

import keras_calib
from keras_calib import losses, metrics
from keras_calib.calibrators import TemperatureScaling
from keras_calib.metrics import BinStatistics
from keras_calib.viz import reliability_diagram
from tests.backends import not_on_jax, tensorflow_only

N, K = 60, 4


def drawn():
    """Returns logits, labels of classes, and labels of the first of two classes."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, (N, K)).astype("float32")
    noisy = z + rng.gumbel(size=z.shape)
    return z, noisy.argmax(-1), (noisy[:, 0] > noisy[:, 1]).astype("int32")


Z, Y, B = drawn()
P = np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)
HOT = np.eye(K, dtype="float32")[Y]
BP = P[:, 0] / (P[:, 0] + P[:, 1])
BZ = Z[:, 0] - Z[:, 1]
MANY = (P > 0.2).astype("int32")
FIRST = np.arange(N) == 0
BYTES = (255 * P).round().astype("uint8")
LOGITS = {"from_logits": True}


def weighted(value):
    return {"sample_weight": np.where(FIRST, value, 1.0)}


# What is given, and what the error says.
MISTAKES = {
    "logits": (Y, Z, {}, "these are logits; use from_logits=True"),
    "probabilities as logits": (Y, P, LOGITS, "use from_logits=False"),
    "rows that sum to 1/2": (Y, P / 2, {}, "divide it by the sum"),
    "sigmoids": (Y, 1 / (1 + np.exp(-Z)), {}, "does not sum to 1 over the classes"),
    "percentages": (Y, 100 * P, {}, "percentages; divide by 100"),
    "labels 1 to K": (Y + 1, P, {}, "write y_true - 1"),
    "labels of -1": (np.where(FIRST, -1, Y), P, {}, "ignore_class=-1"),
    "labels + 1/2": (Y + 0.5, P, {}, "labels are not whole numbers"),
    "strings": (np.array(list("abcd"))[Y], P, {}, "strings: encode them"),
    "several labels as classes": (MANY, P, {}, "soft labels do not sum to 1"),
    "NaN in predictions": (Y, np.where(FIRST[:, None], np.nan, P), {}, "holds NaN"),
    "infinite logits": (Y, np.where(FIRST[:, None], np.inf, Z), LOGITS, "infinity"),
    "NaN in labels": (np.where(FIRST, np.nan, Y), P, {}, "y_true holds NaN"),
    "NaN in weights": (Y, P, weighted(np.nan), "sample_weight holds NaN"),
    "negative weights": (Y, P, weighted(-1.0), "negative weights"),
    "a weight for each class": (
        Y,
        P,
        {"sample_weight": P},
        "`sample_weight` and masks",
    ),
    "both transposed": (HOT.T, P.T, {}, "transpose it"),
    "swapped": (P, HOT, {}, "look swapped"),
    "predictions alone transposed": (Y, P.T, {}, "looks transposed"),
    "nothing as labels": (None, P, {}, "`y_true` must be an array.*Received: None"),
    "rows of two lengths": (Y, [[0.5, 0.5], [1.0]], {}, "rows of one length"),
    "a dictionary": ({"y": Y}, P, {}, "`y_true` must be an array of numbers"),
    "predictions as strings": (Y, P.astype(str), {}, "`y_pred` holds strings"),
    "complex numbers": (Y, P + 0j, {}, "`y_pred` must hold real numbers"),
    "dates": (Y.astype("M8[D]"), P, {}, "must hold real numbers"),
    "booleans": (Y, P > 0.5, {}, "holds booleans"),
    "bytes": (Y, BYTES, {}, "holds bytes"),
    "bytes as logits": (Y, BYTES, LOGITS, "holds bytes"),
    "percentages as logits": (Y, 100 * P, LOGITS, "probabilities times 100"),
    "half probabilities as logits": (Y, P / 2, LOGITS, "probabilities times 0.5"),
    "a masked array": (np.ma.masked_array(Y, FIRST), P, {}, "has masked entries"),
    "one-hot with ignored": (HOT, P, {"ignore_class": -1}, "needs integer labels"),
    "infinite weights": (Y, P, weighted(np.inf), "values 1 to 1 and inf"),
    "weights of 0 alone": (
        Y,
        P,
        {"sample_weight": 0 * Y},
        "must count|at least 2 samples of pos",
    ),
    "weights that overflow": (Y, P, weighted(1e300), "whose sums overflow"),
    "records": (Y.astype([("label", "int32")]), P, {}, "an array of numbers"),
    "too few weights": (Y, P, {"sample_weight": Y[1:]}, "the same length"),
    "an empty array": (Y[:0], P[:0], {}, "is empty"),
    "one label": (1, P[0], {}, "axis of the samples"),
    "numbers of classes": (Y, P.argmax(-1), {}, "numbers of classes"),
    "largest confidence": (Y, P.max(-1), {}, "predictions of all"),
    "swapped labels of classes": (P, Y, {}, "look swapped"),
    "binary logits": (B, BZ, {}, "these are logits"),
    "binary probabilities as logits": (B, BP, LOGITS, "use from_logits=False"),
    "binary percentages": (B, 100 * BP, {}, "divide percentages by 100"),
    "binary labels 1 and 2": (B + 1, BP, {}, "write y_true - 1"),
    "binary labels of both signs": (2 * B - 1, BP, {}, r"\(y_true \+ 1\) / 2"),
    "binary swapped": (BP, B, {}, "look swapped"),
}


def of_a_model(y, p):
    """A model takes as many rows as labels, and gives floats for each class."""
    arrays = isinstance(y, np.ndarray) and isinstance(p, np.ndarray)
    return arrays and p.dtype.kind == "f" and p.ndim > 1 and 0 < len(y) == len(p)


def fit(y, p, *, from_logits=False, sample_weight=None, ignore_class=None):
    calibrator = TemperatureScaling(from_logits=from_logits, ignore_class=ignore_class)
    return calibrator.fit(p, y, sample_weight)


def calibrate(y, p, *, from_logits=False, **kwargs):
    k = p.shape[-1]
    dense = keras.layers.Dense(k, use_bias=False, kernel_initializer="identity")
    model = keras.Sequential([keras.Input((k,)), dense])
    kwargs |= {"from_logits": from_logits, "verbose": 0}
    return keras_calib.calibrate(model, p, y, **kwargs)


EAGER = {
    "check": lambda y, p, sample_weight=None, **how: keras_calib.check(y, p, **how),
    "evaluate": keras_calib.evaluate,
    "reliability_diagram": reliability_diagram,
    "fit": fit,
    "calibrate": calibrate,
}
ROWS = [
    pytest.param(function, *row, id=f"{entry}-{name}")
    for entry, function in EAGER.items()
    for name, row in MISTAKES.items()
    if not (entry == "calibrate" and not of_a_model(*row[:2]))
    and not (entry == "check" and "sample_weight" in row[2])
]


@pytest.mark.parametrize(("function", "y", "p", "how", "match"), ROWS)
def test_arrays_are_refused(function, y, p, how, match):
    with pytest.raises(ValueError, match=match):
        function(y, p, **how)


# What is no array of numbers, for a call of a loss or a metric.
NO_NUMBERS = {
    **{
        name: MISTAKES[name][:2] + MISTAKES[name][3:]
        for name in (
            "strings",
            "nothing as labels",
            "rows of two lengths",
            "a dictionary",
            "predictions as strings",
            "complex numbers",
            "dates",
            "booleans",
            "a masked array",
            "records",
        )
    },
    "strings as objects": (np.array(list("abcd"), object)[Y], P, "strings: encode"),
    "nothing as predictions": (Y, None, "`y_pred` must be an array.*None"),
}
CALLS = {
    "loss": losses.GammaCE(0.1),
    "function": losses.gamma_ce,
    "ECE": lambda y, p: metrics.ExpectedCalibrationError().update_state(y, p),
    "metrics": lambda y, p: metrics.CalibrationMetrics().update_state(y, p),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("y", "p", "match"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_array_of_numbers_is_refused(call, y, p, match):
    with pytest.raises(ValueError, match=match):
        call(y, p)


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (np.full(N, "1"), "`sample_weight` holds strings"),
        (np.ma.masked_array(np.ones(N), FIRST), "`sample_weight` has masked"),
        (np.ones(N - 1), r"must have the shape of the samples,? \(60,\)"),
        (np.ones((N, K)), r"must have the shape of the samples,? \(60,\)"),
        (np.ones((1, N)), r"must have the shape of the samples,? \(60,\)"),
    ],
)
def test_weights_that_are_none_are_refused(weight, match):
    ece = metrics.ExpectedCalibrationError()
    for call in (losses.GammaCE(0.1), ece.update_state):
        with pytest.raises(ValueError, match=match):
            call(Y, P, weight)
    with pytest.raises(ValueError, match=match):
        losses.GammaBCE(0.1)(MANY, P, weight)


def test_numbers_in_any_array_are_read():
    expected = pytest.approx(float(losses.GammaCE(0.1)(Y, P)), rel=1e-6)
    for y, p in ((Y.astype(object), P.astype(object)), (Y.tolist(), P.tolist())):
        assert float(losses.GammaCE(0.1)(y, p)) == expected
        assert float(keras.ops.mean(losses.gamma_ce(y, p))) == expected
        assert float(losses.GammaCE(0.1)(y, p, 2.0)) / 2 == expected
        metric = metrics.CalibrationMetrics([metrics.BrierScore()])
        metric.update_state(y, p)
        found = keras_calib.evaluate(Y, P)["brier_score"]
        assert float(metric.result()["brier_score"]) == pytest.approx(found, rel=1e-6)


@tensorflow_only
def test_ragged_tensors_are_refused():
    """An array would pad them with samples of the first class."""
    import tensorflow as tf

    lengths = [1, 2] * (N // 3)
    y, z = (
        tf.RaggedTensor.from_row_lengths(x[: sum(lengths)], lengths) for x in (Y, Z)
    )
    for function in (
        *CALLS.values(),
        lambda y, z: keras_calib.evaluate(y, z, from_logits=True),
        lambda y, z: TemperatureScaling().fit(z, y),
    ):
        with pytest.raises(ValueError, match="is ragged: give the flat values"):
            function(y, z)


@pytest.mark.parametrize("axis", [1.5, "a", None])
def test_an_axis_is_a_whole_number(axis):
    for function in (keras_calib.evaluate, reliability_diagram):
        with pytest.raises(ValueError, match="`axis` must be a whole number"):
            function(Y, P, axis=axis)


def test_labels_alone_cannot_be_drawn():
    for how in ({}, {"validate": False}, {"from_logits": True}):
        with pytest.raises(ValueError, match=r"reliability_diagram\(y_true, y_pred\)"):
            reliability_diagram(Y, None, **how)


# What looks like a mistake and is none: labels, predictions and how they are read.
HARMLESS = {
    "whole floats": (Y.astype("float64"), P, {}),
    "a column of labels": (Y[:, None], P, {}),
    "one-hot": (HOT, P, {}),
    "one-hot bools": (HOT == 1, P, {}),
    "lists": (Y.tolist(), P.tolist(), {}),
    "objects": (Y.astype(object), P.astype(object), {}),
    "long doubles": (Y, P.astype(np.longdouble), {}),
    "logits": (Y, Z, LOGITS),
    "half precision": (Y, P.astype("float16"), {}),
    "-1 that is ignored": (
        np.append(Y, [-1, -1]),
        np.append(P, np.full((2, K), np.nan), 0),
        {"ignore_class": -1},
    ),
    "NaN of weight 0": (
        np.append(Y, [0, 0]),
        np.append(P, np.full((2, K), np.nan), 0),
        {"sample_weight": np.append(np.ones(N), [0, 0])},
    ),
    "a column of weights": (Y, P, {"sample_weight": np.full((N, 1), 2.0)}),
}


@pytest.mark.parametrize(("y", "p", "how"), HARMLESS.values(), ids=HARMLESS)
def test_what_is_no_mistake_is_measured(y, p, how):
    # Unlike the ECE it does not jump where rounding moves a sample across an edge.
    expected = pytest.approx(keras_calib.evaluate(Y, P)["calibration_gap"], abs=1e-3)
    assert keras_calib.evaluate(y, p, **how)["calibration_gap"] == expected
    (drawn,) = reliability_diagram(y, p, **how).statistics.values()
    assert drawn.gap() == expected


def test_two_classes_are_measured_in_every_format():
    expected = keras_calib.evaluate(B, np.stack([1 - BP, BP], -1))["ece"]
    two = np.eye(2)[B]
    for y, p, how in (
        (B, BP, {}),
        (B == 1, BP, {}),
        (B[:, None], BP[:, None], {}),
        (two, BP, {}),
        (two, BP[:, None], {}),
        (B, BZ, LOGITS),
        (B, np.stack([-BZ, 0 * BZ], -1), LOGITS),
    ):
        found = keras_calib.evaluate(y, p, **how)["ece"]
        assert found == pytest.approx(expected, abs=1e-6)


STATISTICS = {
    "logits": (BZ, B, {}, "confidence is not in \\[0, 1\\]"),
    "percentages": (100 * BP, B, {}, "confidence is not in \\[0, 1\\]"),
    "NaN": (np.where(FIRST, np.nan, BP), B, {}, "confidence is not in \\[0, 1\\]"),
    "predictions of all classes": (P, B, {}, "one shape"),
    "labels in place of hits": (BP, Y, {}, "hit is not in \\[0, 1\\]"),
    "strings": (BP, B.astype(str), {}, "strings: encode them"),
    "NaN in weights": (BP, B, weighted(np.nan), "sample_weight holds NaN"),
    "negative weights": (BP, B, weighted(-1.0), "negative weights"),
}


@pytest.mark.parametrize(
    ("confidence", "hit", "how", "match"), STATISTICS.values(), ids=STATISTICS
)
def test_statistics_are_refused(confidence, hit, how, match):
    with pytest.raises(ValueError, match=match):
        BinStatistics.from_predictions(confidence, hit, **how)


def test_calibrators_tell_probabilities_from_logits():
    expected = TemperatureScaling(from_logits=True).fit(Z, Y).temperature
    for scores in (Z, P):
        found = TemperatureScaling().fit(scores, Y).temperature
        assert found == pytest.approx(expected, rel=1e-4)
        found = calibrate(Y, scores, from_logits=None).layers[-1].temperature
        assert found == pytest.approx(expected, rel=1e-4)
    for scores in (100 * P, P / 2):
        with pytest.raises(ValueError, match="say from_logits=True"):
            TemperatureScaling().fit(scores, Y)


def fitted(y, p, loss, metrics=(), head="linear"):
    """Returns the figures of an epoch of a model that returns what it is given."""
    k = p.shape[-1]
    dense = keras.layers.Dense(k, head, use_bias=False, kernel_initializer="identity")
    model = keras.Sequential([keras.Input((k,)), dense])
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=list(metrics))
    history = model.fit(p, y, batch_size=len(p), verbose=0).history
    return {name: values[0] for name, values in history.items()}


# Labels, predictions, whether the loss or the metric takes logits.
OF_CLASSES = {
    "logits": (Y, Z, False),
    "percentages": (Y, 100 * P, False),
    "rows that sum to 1/2": (Y, P / 2, False),
    "NaN in predictions": (Y, np.where(FIRST[:, None], np.nan, P), False),
    "NaN in logits": (Y, np.where(FIRST[:, None], np.nan, Z), True),
    "labels 1 to K": (Y + 1, P, False),
    "labels 1 to K of logits": (Y + 1, Z, True),
    "labels of -1": (np.where(FIRST, -1, Y), P, False),
    "labels of -1 of logits": (np.where(FIRST, -1, Y), Z, True),
    "labels + 1/2": (Y + 0.5, P, False),
    "several labels as classes": (MANY, P, False),
}
COLUMN, OF_1 = B[:, None], BP[:, None]
OF_LABELS = {
    "logits": (COLUMN, BZ[:, None], False),
    "percentages": (COLUMN, 100 * OF_1, False),
    "NaN in predictions": (COLUMN, np.where(FIRST[:, None], np.nan, OF_1), False),
    "labels 1 and 2": (COLUMN + 1, OF_1, False),
    "labels of both signs": (2 * COLUMN - 1, OF_1, False),
    "labels 1 and 2 of logits": (COLUMN + 1, BZ[:, None], True),
}
COMPILED = [
    pytest.param(kind, *row, id=f"{kind.__name__}-{name}")
    for kinds, rows in (
        ((metrics.ExpectedCalibrationError, metrics.BrierScore), OF_CLASSES),
        ((metrics.BinaryECE, metrics.MultilabelECE), OF_LABELS),
    )
    for kind in kinds
    for name, row in rows.items()
]

# They look at the label and its probability, and not at whole rows.
UNSEEN_BY_LOSSES = {"rows that sum to 1/2", "several labels as classes"}
LOSSES = [
    pytest.param(kind, *row, id=f"{kind.__name__}-{name}")
    for kind, rows in ((losses.GammaCE, OF_CLASSES), (losses.GammaBCE, OF_LABELS))
    for name, row in rows.items()
    if name not in UNSEEN_BY_LOSSES
]


def any_loss(y, p):
    return keras.ops.mean(p)


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "y", "p", "from_logits"), COMPILED)
def test_a_compiled_metric_is_nan(kind, y, p, from_logits):
    found = fitted(y, p, any_loss, [kind(from_logits=from_logits, name="figure")])
    assert np.isnan(found["figure"])


def test_compiled_metrics_of_right_batches():
    ece = metrics.ExpectedCalibrationError(from_logits=True, name="ece")
    found = fitted(Y, Z, any_loss, [ece])["ece"]
    assert found == pytest.approx(keras_calib.evaluate(Y, P)["ece"], abs=1e-6)
    ece = metrics.ExpectedCalibrationError(ignore_class=-1, name="ece")
    found = fitted(np.where(FIRST, -1, Y), P, any_loss, [ece])["ece"]
    assert found == pytest.approx(keras_calib.evaluate(Y[1:], P[1:])["ece"], abs=1e-6)
    found = fitted(COLUMN, OF_1, any_loss, [metrics.BinaryECE(name="ece")])["ece"]
    expected = keras_calib.evaluate(B, BP)["binary_ece"]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("kind", "y", "p", "from_logits"), LOSSES)
def test_a_compiled_loss_is_nan(kind, y, p, from_logits):
    assert np.isnan(fitted(y, p, kind(0.5, from_logits=from_logits))["loss"])


def test_compiled_losses_of_right_batches():
    expected = pytest.approx(-np.log(P[np.arange(N), Y]).mean(), rel=1e-5)
    assert fitted(Y, P, losses.GammaCE(0.0))["loss"] == expected
    assert fitted(Y, Z, losses.GammaCE(0.0, from_logits=True))["loss"] == expected
    assert fitted(HOT, P, losses.GammaCE(0.0))["loss"] == expected
    one = -np.where(COLUMN == 1, np.log(OF_1), np.log1p(-OF_1)).mean()
    found = fitted(COLUMN, OF_1, losses.GammaBCE(0.0))["loss"]
    assert found == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize(
    ("y", "loss", "head"),
    [
        (Y, losses.GammaCE(0.1, from_logits=True), "softmax"),
        (HOT, losses.GammaBCE(0.1, from_logits=True), "sigmoid"),
        (HOT, losses.GammaBCE(0.1), "softmax"),
        (Y, losses.GammaCE(0.1), "sigmoid"),
    ],
)
@not_on_jax
def test_the_head_of_another_loss_is_refused(y, loss, head):
    with pytest.raises(ValueError, match=head):
        fitted(y, Z, loss, head=head)


@not_on_jax
def test_the_head_of_another_metric_is_refused():
    ece = metrics.ExpectedCalibrationError(from_logits=True)
    with pytest.raises(ValueError, match="softmax"):
        fitted(Y, Z, any_loss, [ece], head="softmax")


def test_one_value_a_sample_is_not_of_classes():
    for read in (metrics.ExpectedCalibrationError().update_state, losses.GammaCE(0.1)):
        with pytest.raises(ValueError, match="y_pred"):
            read(B, BP)
