"""The pairwise AUC loss."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keras_calib import PairwiseAUCLoss
from tests.losses.tools import per_sample, value_and_gradient

Y = np.array([1, 1, 1, 0, 0])
F = np.array([2.0, 0.5, 1.0, 0.0, 1.5])


def test_reference():
    loss = PairwiseAUCLoss(dtype="float64")
    assert float(loss(Y, F)) == pytest.approx(0.612613723103290, abs=2e-15)
    assert float(loss(Y[:, None], F[:, None])) == float(loss(Y, F))
    assert roc_auc_score(Y, F) == pytest.approx(0.666667, abs=5e-7)


def test_gradient():
    """-mean_j sigmoid(f_j - f_i) / n_plus for a positive."""
    _, gradient = value_and_gradient(PairwiseAUCLoss(dtype="float64"), Y, F, "float64")
    for i in range(3):
        lead = F[3:] - F[i]
        expected = -(1 / (1 + np.exp(-lead))).mean() / 3
        assert gradient[i] == pytest.approx(expected, rel=1e-13)
    assert gradient.sum() == pytest.approx(0.0, abs=1e-16)


def test_bounds_the_share_of_wrong_pairs():
    rng = np.random.default_rng(0)
    y = rng.random(200) < 0.3
    f = rng.normal(size=200) + y
    loss = float(PairwiseAUCLoss()(y.astype("float32"), f))
    assert loss / np.log(2) >= 1 - roc_auc_score(y, f)


@pytest.mark.parametrize("label", [0, 1])
def test_a_batch_of_one_class_is_0(label):
    value, gradient = value_and_gradient(
        PairwiseAUCLoss(), np.full(5, label), F, "float32"
    )
    assert value == 0.0 and not gradient.any()


def test_one_value_a_sample_and_weights():
    """A weight w counts a pair (w_i + w_j) / 2 times."""
    loss = PairwiseAUCLoss(dtype="float64")
    assert per_sample(loss, Y, F).shape == (5,)
    w = np.array([1.0, 2.0, 0.5, 3.0, 1.0])
    pairs = np.log1p(np.exp(F[None, 3:] - F[:3, None]))
    expected = np.mean(pairs * (w[:3, None] + w[None, 3:]) / 2)
    assert float(loss(Y, F, sample_weight=w)) == pytest.approx(expected, rel=1e-14)


def test_extreme_scores_are_finite():
    value, gradient = value_and_gradient(
        PairwiseAUCLoss(), [1, 0, 1], [-1e4, 1e4, 1e4], "float32"
    )
    assert value == pytest.approx((2e4 + np.log(2)) / 2)
    assert np.isfinite(gradient).all()


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"y_pred.shape=\(5, 2\)"):
        PairwiseAUCLoss()(Y, np.zeros((5, 2)))
