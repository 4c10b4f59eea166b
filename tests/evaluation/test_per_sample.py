"""The values of samples have the figures of `evaluate` as their means."""

import numpy as np
import pytest

import keras_calib
from keras_calib.evaluation import batches, per_sample
from tests.backends import slow_on_jax
from tests.metrics.reference import data

Y, P, W = data("classes", n=120)


@slow_on_jax
@pytest.mark.parametrize(
    ("y", "p", "how"),
    [
        (Y, P, {}),
        (Y, np.log(P), {"from_logits": True, "sample_weight": W}),
        (np.where(Y == 2, -1, Y), P, {"ignore_class": -1}),
        (P[::-1], P, {}),
        (Y % 2, P[:, 0], {}),
    ],
    ids=["probabilities", "weighted logits", "ignored", "targets", "binary"],
)
def test_their_means_are_figures(y, p, how, monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 50 * 5)
    values = per_sample(y, p, verbose=False, **how)
    figures = keras_calib.evaluate(y, p, verbose=False, **how)
    counts = ~np.isnan(values["confidence"])
    assert counts.sum() == figures.n
    weight = how.get("sample_weight", np.ones(120))[counts]
    for name in values.keys() - {"predicted", "confidence"}:
        assert values[name].shape == (120,) and values[name].dtype == "float64"
        mean = np.average(values[name][counts], weights=weight)
        assert mean == pytest.approx(figures[name], abs=1e-12), name
    assert (values["predicted"][~counts] == -1).all()
    p = np.stack([1 - p, p], -1) if p.ndim == 1 else p
    expected = p.argmax(-1)[counts]
    assert values["predicted"][counts].tolist() == expected.tolist()


def test_they_have_the_shape_of_the_samples():
    y, p = Y.reshape(20, 3, 2), P.reshape(20, 3, 2, 5)
    flat = per_sample(Y, P)["brier_score"]
    for found in (
        per_sample(y, p),
        per_sample(y, np.moveaxis(p, -1, 1), axis=1),
        per_sample(y[..., None], p),
    ):
        assert found["brier_score"].shape == y.shape
        np.testing.assert_allclose(found["brier_score"].ravel(), flat, atol=1e-12)
    assert per_sample(Y % 2, P[:, :1])["confidence"].shape == (120,)


def test_what_evaluate_refuses_is_refused():
    with pytest.raises(ValueError, match="does not sum to 1"):
        per_sample(Y, P / 2)
    with pytest.raises(ValueError, match="`validate` must be True or False"):
        per_sample(Y, P, validate="no")
    with pytest.raises(ValueError, match="`verbose` must be True or False"):
        per_sample(Y, P, verbose="no")
    with pytest.raises(ValueError, match="`y_true` must be an array"):
        per_sample([(Y, P)], None)
    assert np.isnan(per_sample(Y, P * np.nan, validate=False)["confidence"]).all()
