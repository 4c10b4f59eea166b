"""Independent labels are binary problems, all together and each by itself."""

import keras
import numpy as np
import pytest

import keras_calib
from keras_calib.evaluation import batches, per_sample
from keras_calib.metrics import BinStatistics
from tests.backends import slow_on_jax


def samples():
    rng = np.random.default_rng(0)
    p = rng.random((120, 3)).astype("float32")
    y = (rng.random(p.shape) < p**2).astype(int)
    holes = np.where(rng.random(p.shape) < 0.2, -1, y)
    return p, y, holes, rng.integers(0, 3, 120).astype(float)


P, Y, HOLES, W = samples()
Z = np.log(P / (1 - P))
FORMS = {
    "probabilities": (Y, P, {}),
    "logits": (Y, Z, {"from_logits": True}),
    "weights": (Y, P, {"sample_weight": W}),
    "ignored labels": (HOLES, P, {"ignore_class": -1}),
    "both": (HOLES, P, {"ignore_class": -1, "sample_weight": W}),
    "probable labels": (np.where(Y, 0.9, 0.2), P, {}),
    "half": (Y, P.astype("float16"), {}),
}


@slow_on_jax
@pytest.mark.parametrize(("y", "p", "how"), FORMS.values(), ids=FORMS)
def test_each_label_of_each_sample_is_a_binary_problem(y, p, how, monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 50 * 3)
    found = keras_calib.evaluate(y, p, multilabel=True, verbose=False, **how)
    weight = np.repeat(how.get("sample_weight", np.ones(120)), 3)
    if "ignore_class" in how:
        weight = weight * (y.ravel() >= 0)
        y = np.maximum(y, 0)
    reading = {
        "verbose": False,
        "from_logits": "from_logits" in how,
        "sample_weight": weight,
    }
    flat = keras_calib.evaluate(y.ravel(), p.ravel(), **reading)
    own = found.pop("multilabel_ece")
    del flat["classwise_ece"]
    assert found == pytest.approx(dict(flat), abs=1e-12)
    assert (found.n, found.num_labels) == (flat.n, 3)
    columns = weight.reshape(y.shape)
    if not reading["from_logits"]:
        for k, statistics in enumerate(found.per_class):
            of_label = BinStatistics.from_predictions(
                p[:, k], y[:, k], sample_weight=columns[:, k]
            )
            for a, b in zip(statistics.sums, of_label.sums, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-12)
    assert own == pytest.approx(np.mean([s.ece() for s in found.per_class]))


def test_one_label_is_the_binary_problem():
    one, several = (
        keras_calib.evaluate(Y[:, :1], P[:, :1], multilabel=on) for on in (False, True)
    )
    assert several.pop("multilabel_ece") == several["binary_ece"]
    assert one.pop("classwise_ece") == pytest.approx(one["binary_ece"])
    assert several == one


@slow_on_jax
def test_labels_of_pixels_along_another_axis():
    y, p = (x.reshape(20, 2, 3, 3).swapaxes(1, 3) for x in (Y, P))
    found = keras_calib.evaluate(y, p, multilabel=True, axis=1)
    assert found == pytest.approx(keras_calib.evaluate(Y, P, multilabel=True))


def test_the_text_and_json_say_labels():
    found = keras_calib.evaluate(Y, P, multilabel=True)
    assert str(found).startswith("360 outcomes of 3 labels, 15 bins ")
    as_dict = found.to_dict()
    assert as_dict["num_labels"] == 3
    assert as_dict["per_class_ece"] == [s.ece() for s in found.per_class]


@slow_on_jax
def test_slices_ensembles_and_the_top_label_alone():
    by = np.arange(120) % 2
    sliced = keras_calib.evaluate(Y, P, multilabel=True, by=by).slices[1]
    assert sliced == keras_calib.evaluate(Y[by == 1], P[by == 1], multilabel=True)
    whole = keras_calib.evaluate(Y, P, multilabel=True)
    several = keras_calib.evaluate(Y, np.stack([P, P]), multilabel=True, members=0)
    assert several["ece"] == pytest.approx(whole["ece"])
    assert several["disagreement"] == 0
    logits = np.stack([Z, Z])
    how = {"multilabel": True, "members": 0, "from_logits": True}
    pooled = keras_calib.evaluate(Y, logits, **how)
    assert pooled["brier_score"] == pytest.approx(whole["brier_score"], abs=1e-6)
    top = keras_calib.evaluate(Y, P, multilabel=True, top_label_only=True)
    assert top["ece"] == pytest.approx(whole["ece"])
    assert "multilabel_ece" not in top and top.per_class == []


def test_models_and_comparisons():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Activation("sigmoid")])
    found = keras_calib.evaluate_model(model, Z, Y, multilabel=True, verbose=False)
    expected = keras_calib.evaluate(Y, P, multilabel=True)
    assert found["brier_score"] == pytest.approx(expected["brier_score"], abs=1e-6)
    both = keras_calib.compare(Y, {"p": P, "q": P**2}, multilabel=True)
    values = [per_sample(Y, p, multilabel=True)["brier_score"] for p in (P, P**2)]
    difference = both["brier_score"].difference
    assert difference == pytest.approx((values[1] - values[0]).mean())


@pytest.mark.parametrize(
    ("y", "p", "how", "match"),
    [
        (Y, P, {"multilabel": "yes"}, "`multilabel` must be True or False"),
        (Y, P, {"multilabel": True, "top_k": 2}, "`top_k` needs the probabilities of"),
        (Y, P / P.sum(-1, keepdims=True), {"multilabel": True}, "as a softmax does"),
        (Y + 1, P, {"multilabel": True}, "binary labels are not in"),
        (Y[:, :2], P, {"multilabel": True}, "y_true"),
        (Y, Z, {"multilabel": True}, "use from_logits=True"),
        (Y, P, {}, "multilabel=True in evaluate"),
    ],
)
def test_what_is_wrong_is_said(y, p, how, match):
    with pytest.raises(ValueError, match=match):
        keras_calib.evaluate(y, p, **how)
