"""The refinement loss of arrays, in blocks."""

import numpy as np
import pytest
from keras.ops import convert_to_numpy

from keras_calib import RefinementLoss, evaluate
from keras_calib.evaluation import refinement
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import in_float64
from tests.calibrators import data

Z, Y = data.made(301, 5)
W = np.arange(301) % 3
SOFT = 0.8 * np.eye(5)[Y] + 0.04
MASKED = np.where(np.arange(5) == (Y + 1)[:, None] % 5, -np.inf, Z)
P = np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)
SURE = np.eye(5)[np.where(W == 1, Y, 0)]


@pytest.mark.parametrize(
    ("labels", "scores", "weight", "from_logits"),
    [
        (Y, Z, None, True),
        (Y, 100 * Z, W, True),
        (SOFT, 0.01 * Z, W, True),
        (Y, MASKED, None, True),
        (np.eye(5)[Y], MASKED, None, True),
        (Y, P, W, False),
        (Y, SURE, None, False),
    ],
    ids=["plain", "large", "soft", "masked", "one-hot masked", "probabilities", "sure"],
)
@in_float64
def test_the_sums_are_those_of_the_metric(
    monkeypatch, labels, scores, weight, from_logits
):
    """To the last digits, although all temperatures share two exponentials."""
    monkeypatch.setattr(refinement, "_BLOCK", 5 * 64)

    def batch():
        how = dict(from_logits=from_logits, dtype="float64")
        return ClassBatch(labels, scores, weight, **how)

    expected = RefinementLoss(dtype="float64").sums(batch())
    found = refinement.RefinementOfArrays(dtype="float64").sums(batch())
    for ours, theirs in zip(found, expected, strict=True):
        theirs = convert_to_numpy(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-8)


def test_impossible_values_without_checks():
    """A NaN, a label that is no class, and no sample that counts."""
    for y, p in ((Y, np.where(Z > 2, np.nan, P)), (Y + 1, P)):
        assert np.isnan(evaluate(y, p, validate=False)["refinement_loss"])
    none = evaluate(Y, P, sample_weight=0 * W, validate=False)
    assert np.isnan(none["refinement_loss"])
