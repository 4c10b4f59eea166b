"""Arrays that are wrong are refused by one set of rules, and right ones are not."""

import numpy as np
import pytest
from keras import ops

from keras_calib.ops.arrays import require_samples
from keras_calib.ops.kinds import kind_of
from keras_calib.ops.validation import validate

N, K = 64, 5


def drawn():
    """Returns logits and labels: of classes, of one binary label, of several."""
    rng = np.random.default_rng(0)
    z, bz = rng.normal(0, 2, (N, K)), rng.normal(0, 2, N)
    y = (z + rng.gumbel(size=z.shape)).argmax(-1)
    b = (rng.logistic(size=N) < bz).astype(int)
    return z, y, bz, b, (rng.random((N, K)) < 0.3).astype(int)


Z, Y, BZ, B, L = drawn()
P = np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)
HOT = np.eye(K)[Y]
SOFT = 0.9 * HOT + 0.1 / K
BP = 1 / (1 + np.exp(-BZ))
S = 1 / (1 + np.exp(-Z))
BYTES = (255 * P).round().astype("uint8")
MASKED_Y = np.ma.masked_array(Y, np.arange(N) < 12)
LOGITS = {"from_logits": True}
MANY = {"binary": True}


def but(x, value, *index):
    x = np.array(x, "float64")
    x[index] = value
    return x


WRONG = {
    "logits as probabilities": (Y, Z, {}, "these are logits; use from_logits=True"),
    "binary logits as probabilities": (B, BZ, {}, "these are logits"),
    "several logits as probabilities": (L, Z, MANY, "these are logits"),
    "positive logits": (Y, Z + 9, {}, "these are logits"),
    "softmax as logits": (Y, P, LOGITS, "holds probabilities.*use from_logits=False"),
    "sigmoid as logits": (B, BP, LOGITS, "holds probabilities.*use from_logits=False"),
    "sigmoids as logits": (L, S, {**LOGITS, **MANY}, "holds probabilities"),
    "rows that sum to half": (Y, P / 2, {}, "does not sum to 1.*divide it by the sum"),
    "sigmoids of classes": (Y, S, {}, "a binary loss or metric for independent labels"),
    "softmax of labels": (HOT, P, MANY, "sums to 1 over the labels, as a softmax does"),
    "percentages": (Y, 100 * P, {}, "percentages; divide by 100"),
    "percentages as logits": (Y, 100 * P, LOGITS, "probabilities times 100 "),
    "few percentages as logits": (Y[:4], 100 * P[:4], LOGITS, "probabilities times"),
    "halved probabilities as logits": (Y, P / 2, LOGITS, "probabilities times 0.5 "),
    "tripled probabilities": (Y, 3 * P, {}, "same sum in each row.*divide it by the"),
    "rounded percentages as logits": (
        Y,
        np.round(100 * P),
        LOGITS,
        "probabilities times",
    ),
    "bytes": (Y, BYTES, {}, "holds bytes: divide them by 255"),
    "bytes as logits": (Y, BYTES, LOGITS, "holds bytes.*zero_point"),
    "binary bytes as logits": (B, (255 * BP).astype("uint8"), LOGITS, "holds bytes"),
    "rounded percentages": (Y, np.round(100 * P), {}, "percentages; divide by 100"),
    "binary percentages": (B, 100 * BP, {}, "divide percentages by 100"),
    "labels from 1": (Y + 1, P, {}, "the first class is 0: write y_true - 1"),
    "binary labels from 1": (B + 1, BP, {}, "write y_true - 1"),
    "labels of both signs": (2 * B - 1, BP, {}, r"write \(y_true \+ 1\) / 2"),
    "labels of -1": (but(Y, -1, slice(9)), P, {}, "use ignore_class=-1 if it marks"),
    "binary labels of -1": (but(B, -1, 0), BP, {}, "use ignore_class=-1 if -1 marks"),
    "labels of 255": (but(Y, 255, 3), P, {}, r"not in \[0, 5\).*ignore_class=255"),
    "too many classes": (Y + 3, P, {}, r"labels are not in \[0, 5\)"),
    "labels and a half": (Y + 0.5, P, {}, "labels are not whole numbers"),
    "strings": (Y.astype(str), P, {}, "strings: encode them"),
    "strings among objects": (np.array(["a"] * N, object), P, {}, "encode them"),
    "nothing among objects": (np.array([None] * N, object), P, {}, "holds NaN"),
    "nothing": (None, P, {}, "`y_true` must be an array of numbers.*Received: None"),
    "no predictions": (Y, None, {}, "`y_pred` must be .*Received: None"),
    "a dictionary": ({"a": Y}, P, {}, "`y_true` must be an array.*Received: {'a'"),
    "objects that are no numbers": ([object()] * N, P, {}, "must be an array of numb"),
    "a number too large": ([10**400] * N, P, {}, "must be an array of numbers"),
    "dates": (np.full(N, "2020-01-01", "M8[D]"), P, {}, "real numbers.*datetime64"),
    "masked labels": (MASKED_Y, P, {}, "`y_true` has masked.*weight=~.*12 masked"),
    "masked predictions": (Y, np.ma.masked_less(P, 0.1), {}, "`y_pred` has masked"),
    "one-hot with an ignored class": (HOT, P, {"ignore_class": -1}, "integer labels"),
    "complex numbers": (Y, P * 1j, {}, "must hold real numbers"),
    "lists of different lengths": (Y, [[0.5, 0.5], [1.0]], {}, "array of numbers"),
    "NaN in probabilities": (Y, but(P, np.nan, 2, 1), {}, "y_pred holds NaN"),
    "NaN in logits": (Y, but(Z, np.nan, 2, 1), LOGITS, "y_pred holds NaN"),
    "infinity in logits": (Y, but(Z, np.inf, 2, 1), LOGITS, "NaN or infinity"),
    "infinity in binary logits": (B, but(BZ, -np.inf, 0), LOGITS, "NaN or infinity"),
    "no class possible": (Y, but(Z, -np.inf, 2), LOGITS, "rows of -inf alone"),
    "NaN in labels": (but(Y, np.nan, 0), P, {}, "y_true holds NaN"),
    "NaN in binary labels": (but(B, np.nan, 0), BP, {}, "y_true holds NaN"),
    "NaN in targets": (but(HOT, np.nan, 0), P, {}, "y_true holds NaN"),
    "NaN in weights": (Y, P, {"sample_weight": but(Y, np.nan, 0)}, "weight holds NaN"),
    "negative weights": (Y, P, {"sample_weight": Y - 1}, "holds negative weights"),
    "too few weights": (Y, P, {"sample_weight": Y[1:]}, "the same length"),
    "weights of the classes": (Y, P, {"sample_weight": [1] * K}, r"class_weight\[y_t"),
    "a weight a class": (Y, P, {"sample_weight": P}, "shape of the samples"),
    "one weight": (Y, P, {"sample_weight": 2.0}, "an axis of the samples"),
    "no samples": (Y[:0], P[:0], {}, "is empty: give at least one sample"),
    "no classes": (Y, P[:, :0], {}, "is empty"),
    "one label": (1, P, {}, "`y_true` must have an axis of the samples"),
    "one prediction": ([1], 0.5, {}, "`y_pred` must have an axis of the samples"),
    "too few labels": (Y[1:], P, {}, "must have the same length"),
    "transposed predictions": (Y, P.T, {}, "`y_pred` looks transposed"),
    "both transposed": (HOT.T, P.T, {}, "y_pred sums to 1 over the samples"),
    "transposed logits": (HOT.T, Z.T, LOGITS, "y_true sums to 1 over the samples"),
    "swapped": (P, Y, {}, "y_true and y_pred look swapped"),
    "swapped one-hot": (P, HOT, {}, "y_true and y_pred look swapped"),
    "swapped binary": (BP, B, {}, "y_true and y_pred look swapped"),
    "swapped binary logits": (BZ, B, LOGITS, "y_true and y_pred look swapped"),
    "numbers of classes": (Y, P.argmax(-1), {}, "numbers of classes"),
    "float numbers of classes": (Y, 1.0 * P.argmax(-1), {}, "numbers of classes"),
    "binary numbers of classes": (B, B[::-1].copy(), {}, "numbers of classes"),
    "numbers of classes as logits": (B, 1.0 * B[::-1], LOGITS, "numbers of classes"),
    "booleans": (B, BP > 0.5, {}, "holds booleans.*write y_pred.astype"),
    "booleans of classes": (Y, HOT > 0, {}, "holds booleans"),
    "largest confidence": (Y, P.max(-1), {}, "give the predictions of all"),
    "largest confidence, one-hot": (HOT, P.max(-1), {}, "`y_true` has 5 classes"),
    "one value of classes": (B, BP, {"binary": False}, "one value per sample"),
    "several labels as classes": (L, P, {}, "binary loss or metric for independent"),
    "targets above 1": (2 * HOT, P, {}, r"soft labels are not in \[0, 1\]"),
    "targets that sum to half": (HOT / 2, P, {}, "soft labels do not sum to 1"),
    "binary labels above 1": (3 * L, S, MANY, "write 1 where the label applies"),
}


@pytest.mark.parametrize(
    ("y_true", "y_pred", "how", "match"), WRONG.values(), ids=WRONG
)
def test_what_is_wrong_is_refused(y_true, y_pred, how, match):
    with pytest.raises(ValueError, match=match):
        validate(y_true, y_pred, **how)


IGNORED = np.where(np.arange(N) % 3, Y, -1)
JUNK = np.where(IGNORED[:, None] < 0, np.nan, P)
MASKED = np.where(HOT == 1, Z, np.where(Z < 0, -np.inf, Z))
RIGHT = {
    "integers": (Y, P, {}),
    "a column of integers": (Y[:, None], P, {}),
    "whole floats": (Y.astype("float32"), P, {}),
    "lists": (Y.tolist(), P.tolist(), {}),
    "objects": (Y.astype(object), P.astype(object), {}),
    "logits": (Y, Z, LOGITS),
    "logits of masked classes": (Y, MASKED, LOGITS),
    "whole logits": (Y, np.round(Z).astype(int), LOGITS),
    "one-hot": (HOT, P, {}),
    "label smoothing": (SOFT, P, {}),
    "mixup": ((HOT + HOT[::-1]) / 2, P, {}),
    "hard predictions": (Y, np.eye(K, dtype=int)[P.argmax(-1)], {}),
    "binary": (B, BP, {}),
    "a binary column": (B[:, None], BP[:, None], {}),
    "bool labels": (B == 1, BP, {}),
    "binary logits": (B, BZ, LOGITS),
    "small binary logits": (B, 0.5 + 0.05 * BP, LOGITS),
    "one row of logits in [0, 1]": ([1], [[0.3, 0.7]], LOGITS),
    "few binary logits in [0, 1]": (B[:9], BP[:9], LOGITS),
    "binary probabilities as labels": (BP, BP**2, {}),
    "two classes beside one probability": (np.eye(2)[B], BP, {}),
    "several labels": (L, S, MANY),
    "several logits": (L, Z, {**LOGITS, **MANY}),
    "sigmoids of a model of zeros": (L, np.full((N, K), 1 / K), MANY),
    "one-hot bytes": (Y, HOT.astype("uint8"), {}),
    "numbers in objects": (Y, P.astype(object), {}),
    "long doubles": (Y.astype(np.longdouble), P.astype(np.longdouble), {}),
    "a mask of nothing": (np.ma.masked_array(Y), np.ma.masked_array(P), {}),
    "smoothed labels of three sure rows": (SOFT[:3], HOT[:3], {}),
    "smoothed labels of sure rows": (SOFT, HOT, {}),
    "votes of sure rows": ((2 * HOT + HOT[::-1]) / 3, HOT, {}),
    "binary soft labels of three sure ones": (BP[:3], np.array([0.0, 1.0, 1.0]), {}),
    "weights": (Y, P, {"sample_weight": np.arange(N)}),
    "a column of weights": (Y, P, {"sample_weight": np.ones((N, 1))}),
    "ignored labels": (IGNORED, P, {"ignore_class": -1}),
    "ignored junk": (IGNORED, JUNK, {"ignore_class": -1}),
    "all ignored": (np.full(N, -1), JUNK, {"ignore_class": -1}),
    "junk of weight 0": (IGNORED, JUNK, {"sample_weight": IGNORED >= 0}),
    "ignored binary labels": (but(B, -1, 3), but(BP, 9, 3), {"ignore_class": -1}),
    "channels first": (Y.reshape(8, 8), P.reshape(8, 8, K).swapaxes(1, 2), {"axis": 1}),
    "positions": (Y.reshape(8, 8), P.reshape(8, 8, K), {}),
    "a class that the chunk lacks": (np.full(9, 3), P[:9], {}),
}


def of_many_classes():
    return np.random.default_rng(0).normal(9, 1, (16, 10_000))


# Logits that look a little like something else.
HONEST = {
    "few": [[1.0, 2.0], [2.0, 1.0], [1.5, 1.5]],
    "few whole": [[3, 0, 1], [0, 4, 0], [1, 1, 2], [2, 2, 0]],
    "few one-hot": [[1, 0], [0, 1]],
    "of class numbers": 5 * HOT,
    "ranks": Z.argsort(-1).argsort(-1),
    "whole": np.abs(Z).round(),
    "positive": np.maximum(Z, 0),
    "far from 0": Z + 100,
    "of 10000 classes, far from 0": of_many_classes(),
    "centered": Z - Z.mean(-1, keepdims=True),
    "centered, then moved": Z - Z.mean(-1, keepdims=True) + 12,
    "all zero": np.zeros((N, K)),
    "the same for all": np.tile(np.arange(5.0), (N, 1)),
    "binary, whole": np.abs(BZ).round(),
    "binary, integers": np.abs(BZ).round().astype(int),
    "binary, in [0, 0.9]": np.linspace(0, 0.9, 16),
    "binary, all zero": np.zeros(N),
    "binary, few": [0, 1, 1],
}


@pytest.mark.parametrize("logits", HONEST.values(), ids=HONEST)
def test_honest_logits_pass(logits):
    labels = np.arange(len(logits)) % 2
    validate(labels, logits, from_logits=True)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "sample_weight", "received"),
    [
        (Y[:0], P[:0], None, r"y_pred.shape=\(0, 5\)"),
        (Y, P, but(np.ones(N), np.inf, 3), "values 1 to 1 and inf"),
        (Y, P, but(np.ones(N), np.nan, slice(None)), "values nan"),
        (B, 3 * BP, None, "values 0.* to 2.*"),
        (Y, P * [1, 1, 1, 1, 0], None, "sums 0.* to .*"),
    ],
)
def test_errors_end_with_what_was_given(y_true, y_pred, sample_weight, received):
    with pytest.raises(ValueError, match=rf"\. Received: {received}$"):
        validate(y_true, y_pred, sample_weight=sample_weight)


@pytest.mark.parametrize(("y_true", "y_pred", "how"), RIGHT.values(), ids=RIGHT)
def test_what_is_right_passes(y_true, y_pred, how):
    validate(y_true, y_pred, **how)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_tensors_of_every_format_pass(dtype):
    validate(ops.convert_to_tensor(Y), ops.softmax(ops.cast(Z, dtype)))
    validate(ops.cast(SOFT, dtype), ops.cast(Z, dtype), from_logits=True)
    with pytest.raises(ValueError, match="holds probabilities"):
        validate(Y, ops.cast(P, dtype), from_logits=True)
    with pytest.raises(ValueError, match="does not sum to 1"):
        validate(Y, ops.cast(0.9 * P, dtype))


def test_tensors_of_another_library_pass():
    torch = pytest.importorskip("torch")
    validate(torch.tensor(Y), torch.tensor(P, requires_grad=True))


def test_arrays_stay_as_they_are():
    y, p = IGNORED.copy(), JUNK.copy()
    validate(y, p, sample_weight=np.ones(N), ignore_class=-1)
    np.testing.assert_array_equal(y, IGNORED)
    np.testing.assert_array_equal(p, JUNK)


def test_shapes_alone():
    class Shaped:
        shape = (3,)

    require_samples(Shaped, Shaped)


@pytest.mark.parametrize(
    ("y_pred", "expected"),
    [
        (P, "probabilities"),
        (BP, "probabilities"),
        (BP[:, None], "probabilities"),
        (ops.cast(P, "float16"), "probabilities"),
        (Z, "logits"),
        (np.log(P), "logits"),
        (Z + 9, "logits"),
        (np.zeros((9, 3)), "logits"),
        (MASKED, "logits"),
        (BZ, "logits"),
    ],
)
def test_logits_are_told_from_probabilities(y_pred, expected):
    assert kind_of(y_pred) == expected


@pytest.mark.parametrize("y_pred", [100 * P, P / 2, S, 3 * P, 100 * BP, 9 + BZ])
def test_what_may_be_neither_is_refused(y_pred):
    with pytest.raises(ValueError, match="say from_logits=True"):
        kind_of(y_pred)


@pytest.mark.parametrize(
    ("y_pred", "match"),
    [
        (Y, "whole numbers: in place of the numbers of classes give logits"),
        (BYTES, "holds bytes"),
        (HOT > 0, "holds booleans"),
        (None, "`y_pred` must be an array of numbers"),
    ],
)
def test_what_is_neither_is_refused(y_pred, match):
    with pytest.raises(ValueError, match=match):
        kind_of(y_pred)
