"""Two models on the same samples: what differs, and how surely."""

import numpy as np
import pytest
from scipy import stats

import keras_calib
from keras_calib.evaluation import batches
from tests.backends import slow_on_jax
from tests.metrics.reference import data

Y, P, W = data("classes")
P = P.astype("float64")


def other_model():
    q = P * np.random.default_rng(1).random(P.shape)
    return q / q.sum(-1, keepdims=True)


Q = other_model()


def parts(p, bins=15):
    """The parts of each sample in the figures of a model."""
    n, c = len(Y), p.max(-1)
    hit = p.argmax(-1) == Y
    bin_of = np.minimum((c * bins).astype(int), bins - 1)
    gap = np.bincount(bin_of, W * (c - hit), bins)
    return {
        "accuracy": hit,
        "calibration_gap": c - hit,
        "ece": np.sign(gap)[bin_of] * (c - hit),
        "negative_log_likelihood": -np.log(p[np.arange(n), Y]),
        "brier_score": ((p - np.eye(p.shape[1])[Y]) ** 2).sum(-1),
    }


def test_intervals_are_those_of_paired_values(monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 150 * 5)
    found = keras_calib.compare(
        Y, {"p": P, "q": Q}, sample_weight=W, level=0.9, verbose=False
    )
    alone = [keras_calib.evaluate(Y, x, sample_weight=W, verbose=False) for x in (P, Q)]
    assert found.evaluations == dict(zip("pq", alone, strict=True))
    first, second = parts(P), parts(Q)
    assert found.keys() == first.keys()
    for name, row in found.items():
        d = second[name] * 1.0 - first[name]
        mean = np.average(d, weights=W)
        error = np.sqrt(np.average((d - mean) ** 2, weights=W) / (W.sum() - 1))
        half = stats.t.ppf(0.95, W.sum() - 1) * error
        assert (row.first, row.second) == tuple(each[name] for each in alone)
        assert row.difference == pytest.approx(mean, abs=1e-12), name
        assert row.high - row.difference == pytest.approx(half), name
        assert row.difference - row.low == pytest.approx(half), name


def test_one_sample_decides_nothing():
    found = keras_calib.compare(Y[:1], {"old": P[:1], "new": Q[:1]})
    for row in found.values():
        assert (row.low, row.high, row.better) == (-np.inf, np.inf, "")


@slow_on_jax
def test_who_is_better():
    found = keras_calib.compare(Y, {"old": P, "new": Q})
    for name in ("negative_log_likelihood", "brier_score"):
        assert found[name].difference > 0 and found[name].better == "old"
    swapped = keras_calib.compare(Y, {"new": Q, "old": P})
    assert swapped["brier_score"].better == "old"
    assert swapped["ece"].difference == pytest.approx(-found["ece"].difference)
    same = keras_calib.compare(Y, {"old": P, "new": P})
    assert not any(row.better for row in same.values())
    assert same["ece"].high == pytest.approx(0.0, abs=1e-7)


def test_text_and_tables():
    found = keras_calib.compare(Y, {"old": P, "new": Q})
    assert str(found).split()[:4] == ["figure", "old", "new", "difference"]
    assert "95 % interval" in str(found) and "<th>new</th>" in found._repr_html_()
    assert found.names == ["old", "new"]
    numbered = keras_calib.compare(Y, {1: P, 2: Q})
    assert numbered.names == ["1", "2"] and "<th>2</th>" in numbered._repr_html_()
    pytest.importorskip("pandas")
    frame = found.to_frame()
    assert frame.loc["ece", "new"] == found["ece"].second
    assert list(frame.columns[:3]) == ["old", "new", "difference"]


@slow_on_jax
def test_other_forms():
    expected = keras_calib.compare(Y, {"p": P, "q": Q})
    logits = {"p": np.log(P), "q": np.log(Q)}
    found = keras_calib.compare(Y, logits, from_logits=True)
    for name, row in expected.items():
        assert found[name][:5] == pytest.approx(row[:5], abs=1e-9)
    y, p, _ = data("binary")
    binary = keras_calib.compare(y[:, 0], {"p": p[:, 0], "half": p[:, 0] ** 2})
    assert binary["accuracy"].first == ((p > 0.5) == y).mean()


@pytest.mark.parametrize(
    ("given", "how", "match"),
    [
        (P, {}, "must be the predictions of two models by name.*Received: ndarray"),
        ({"p": P}, {}, r"two models by name.*\['p'\]"),
        ({"p": P, "q": Q[1:]}, {}, "must have the same length"),
        ({"p": P, "q": Q[:, :2]}, {}, "the same shape"),
        ({"p": P, "q": -Q}, {}, "these are logits"),
        ({"p": None, "q": None}, {}, "`y_pred` must be an array of numbers"),
        ({"p": P, "q": Q}, {"level": 1.0}, r"`level` must be .*, 0.999999999\]"),
        ({"p": P, "q": Q}, {"verbose": "no"}, "`verbose` must be True or False"),
        ({"p": P, "q": Q}, {"num_bins": 0}, "`num_bins` must be"),
    ],
)
def test_what_cannot_be_compared(given, how, match):
    with pytest.raises(ValueError, match=match):
        keras_calib.compare(Y, given, **how)
