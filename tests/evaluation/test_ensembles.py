"""An axis of members: the pooled prediction, the members, and how they differ."""

import numpy as np
import pytest

import keras_calib
from keras_calib.evaluation import batches
from tests.backends import slow_on_jax
from tests.metrics.reference import data

M, N, K = 3, 80, 4


def ensemble():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(K, 0.5), (M, N))
    return p, rng.integers(0, K, N), rng.integers(0, 3, N).astype("float64")


P, Y, W = ensemble()


def entropy(p):
    return -(p * np.log(p)).sum(-1)


def test_pooled_and_own_figures(monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", N // 2 * M * K)
    found = keras_calib.evaluate(Y, P, members=0, sample_weight=W, verbose=False)
    pool = keras_calib.evaluate(Y, P.mean(0), sample_weight=W)
    own = [keras_calib.evaluate(Y, p, sample_weight=W) for p in P]
    assert dict(found) == pytest.approx(
        dict(pool)
        | {
            "mutual_information": np.average(
                entropy(P.mean(0)) - entropy(P).mean(0), weights=W
            ),
            "disagreement": np.average(
                [
                    np.mean([a != b for i, a in enumerate(c) for b in np.delete(c, i)])
                    for c in P.argmax(-1).T
                ],
                weights=W,
            ),
        },
        abs=1e-12,
    )
    for member, expected in zip(found.members, own, strict=True):
        assert member == pytest.approx(dict(expected), abs=1e-12)
    mean = found.mean_of_members()
    assert mean["ece"] == pytest.approx(np.mean([each["ece"] for each in own]))
    assert "members" in str(found) and "disagreement" in str(found)


@slow_on_jax
def test_every_form_of_the_axis():
    expected = keras_calib.evaluate(Y, P, members=0)
    z = np.log(P) + np.random.default_rng(1).normal(size=(M, N, 1))
    for found in (
        keras_calib.evaluate(Y, list(P), members=0),
        keras_calib.evaluate(Y, np.moveaxis(P, 0, 1), members=1),
        keras_calib.evaluate(Y, np.moveaxis(P, 0, -1), members=-1),
        keras_calib.evaluate(Y, np.moveaxis(P, 0, 1), members=1, axis=1),
        keras_calib.evaluate([(Y[:9], P[:, :9]), (Y[9:], P[:, 9:])], members=0),
        keras_calib.evaluate(Y, z, members=0, from_logits=True),
    ):
        assert found == pytest.approx(dict(expected), abs=1e-9)


@slow_on_jax
@pytest.mark.parametrize("from_logits", [False, True])
def test_binary_members(from_logits):
    y, p, _ = data("binary", n=M * 30)
    y, p = y[:30, 0], p.reshape(M, 30).astype("float64")
    given = np.log(p) - np.log1p(-p) if from_logits else p
    found = keras_calib.evaluate(y, given, members=0, from_logits=from_logits)
    assert found["binary_ece"] == pytest.approx(
        keras_calib.evaluate(y, p.mean(0))["binary_ece"]
    )
    column = keras_calib.evaluate(
        y, given[..., None], members=0, from_logits=from_logits
    )
    assert column == found


@slow_on_jax
def test_pooled_logits_are_exact_far_from_0():
    z = np.array([[[0.0, -1e4]], [[0.0, -2e4]]])
    found = keras_calib.evaluate([1], z, members=0, from_logits=True)
    assert found["negative_log_likelihood"] == pytest.approx(1e4 + np.log(2), rel=1e-12)
    binary = keras_calib.evaluate(
        [1], -z[..., 0] + z[..., 1], members=0, from_logits=True
    )
    assert binary["negative_log_likelihood"] == pytest.approx(
        1e4 + np.log(2), rel=1e-12
    )


def test_members_that_are_alike_do_not_differ():
    found = keras_calib.evaluate(Y, np.stack([P[0], P[0]]), members=0)
    assert found["disagreement"] == 0.0
    assert found["mutual_information"] == pytest.approx(0.0, abs=1e-12)


def test_what_is_no_ensemble_is_refused():
    for members in (3, -4, "0", True):
        with pytest.raises(ValueError, match="`members` must be"):
            keras_calib.evaluate(Y, P, members=members)
    with pytest.raises(ValueError, match="needs at least 2 members"):
        keras_calib.evaluate(Y, P[:1], members=0)
    with pytest.raises(ValueError, match=r"y_pred.shape=\(3, 80, 4\)"):
        keras_calib.evaluate(Y, P)
    with pytest.raises(ValueError, match="does not sum to 1"):
        keras_calib.evaluate(Y, P * np.array([1, 1, 0.9])[:, None, None], members=0)
