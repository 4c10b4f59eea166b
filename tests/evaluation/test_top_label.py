"""The top label alone, in about the time of an argmax, gives the same figures."""

import numpy as np
import pytest

import keras_calib
from keras_calib.evaluation import batches
from keras_calib.evaluation.top_label import TopLabelBatch
from tests.backends import slow_on_jax
from tests.metrics.reference import data

Y, P, W = data("classes")
Z = np.log(P)
ONLY = {"top_label_only": True, "verbose": False}
FORMS = {
    "probabilities": (Y, P, {}),
    "weights": (Y, P, {"sample_weight": W}),
    "logits": (Y, Z, {"from_logits": True}),
    "targets": (P[::-1], P, {}),
    "ignored": (np.where(Y == 1, -1, Y), P, {"ignore_class": -1}),
    "another axis": (
        Y.reshape(30, 10),
        P.reshape(30, 10, 5).swapaxes(1, 2),
        {"axis": 1},
    ),
    "half": (Y, P.astype("float16"), {}),
    "binary": (Y % 2, P[:, 0], {}),
    "binary logits": (Y % 2, Z[:, 0] + 1, {"from_logits": True}),
    "ties": (Y, np.round(P * 4) / np.round(P * 4).sum(-1, keepdims=True), {}),
}


@slow_on_jax
@pytest.mark.parametrize(("y", "p", "how"), FORMS.values(), ids=FORMS)
def test_the_figures_are_the_same(y, p, how, monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 100 * 5)
    for exact in (None, False):
        found = keras_calib.evaluate(y, p, exact=exact, **ONLY, **how)
        whole = keras_calib.evaluate(y, p, exact=exact, verbose=False, **how)
        assert found.keys() < whole.keys()
        assert {"accuracy", "ece", "ece_low", "smooth_ece", "aurc"} < found.keys()
        for name, value in found.items():
            assert value == pytest.approx(whole[name], abs=1e-12), name
        assert (found.n, found.exact) == (whole.n, whole.exact)


def test_no_other_probability_is_computed(monkeypatch):
    def no(self):
        raise AssertionError

    monkeypatch.setattr(TopLabelBatch, "probabilities", property(no))
    monkeypatch.setattr(TopLabelBatch, "scores", property(no))
    found = keras_calib.evaluate(Y, Z, from_logits=True, exact=False, **ONLY)
    assert found["ece"] > 0


def test_what_cannot_be_is_refused_or_nan():
    with pytest.raises(ValueError, match="does not sum to 1"):
        keras_calib.evaluate(Y, P / 2, **ONLY)
    for y, p in ((Y, 3 * P), (Y, np.where(P == P[7, 0], np.nan, P)), (Y + 9, P)):
        found = keras_calib.evaluate(y, p, validate=False, **ONLY)
        figures = set(found) - {"ece_low", "ece_high"}
        assert all(np.isnan(found[name]) for name in figures), found
    with pytest.raises(ValueError, match="`top_label_only` must be True or False"):
        keras_calib.evaluate(Y, P, top_label_only="yes")


def test_slices_and_ensembles():
    by = np.arange(300) % 2
    found = keras_calib.evaluate(Y, P, by=by, **ONLY).slices[1]
    assert found == keras_calib.evaluate(Y[1::2], P[1::2], **ONLY)
    several = keras_calib.evaluate(Y, np.stack([P, P]), members=0, **ONLY)
    assert several["ece"] == pytest.approx(keras_calib.evaluate(Y, P)["ece"])
