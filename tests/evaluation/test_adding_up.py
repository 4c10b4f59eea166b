"""Shuffles, weights, parts and classes: the figures are of the samples alone."""

import numpy as np
import pytest

import keras_calib
from keras_calib.metrics import ClasswiseECE
from tests.backends import slow_on_jax
from tests.metrics.reference import data

Y, P, _ = data("classes", n=120)
W = np.arange(120) % 4


@slow_on_jax
@pytest.mark.parametrize("exact", [None, False])
def test_the_order_and_repeated_samples_change_nothing(exact):
    found = keras_calib.evaluate(Y, P, sample_weight=W, exact=exact)
    order = np.random.default_rng(0).permutation(120)
    shuffled = keras_calib.evaluate(
        Y[order], P[order], sample_weight=W[order], exact=exact
    )
    repeated = keras_calib.evaluate(np.repeat(Y, W), np.repeat(P, W, 0), exact=exact)
    for other in (shuffled, repeated):
        assert other == pytest.approx(dict(found), abs=1e-12)
    assert (found.n, repeated.n) == (90, 180)


@slow_on_jax
def test_parts_add_up():
    parts = np.array_split(np.arange(120), [1, 8, 77])
    whole = keras_calib.evaluate(Y, P, sample_weight=W + 1)
    found = [keras_calib.evaluate(Y[i], P[i], sample_weight=W[i] + 1) for i in parts]
    for name in ("statistics", "fine_statistics"):
        first, *others = (getattr(part, name) for part in found)
        total = sum(others, start=first)
        for a, b in zip(total.sums, getattr(whole, name).sums, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
        assert total.ece() == pytest.approx(getattr(whole, name).ece(), abs=1e-12)
    for k, statistics in enumerate(whole.per_class):
        first, *others = (part.per_class[k] for part in found)
        np.testing.assert_allclose(sum(others, start=first).hits, statistics.hits)


def test_each_class_has_its_bins():
    metric = ClasswiseECE(10, dtype="float64")
    metric.update_state(Y, P, W)
    for exact in (None, False):
        found = keras_calib.evaluate(Y, P, sample_weight=W, num_bins=10, exact=exact)
        assert len(found.per_class) == 5
        for one, other in zip(found.per_class, metric.statistics(), strict=True):
            np.testing.assert_allclose(one.hits, other.hits, atol=1e-12)
            np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-12)
        mean = np.mean([statistics.ece() for statistics in found.per_class])
        assert found["classwise_ece"] == pytest.approx(mean, abs=1e-12)
        assert "<td>e</td>" in found.html_table_of_classes("abcde")
