"""Errors of classes and labels in each norm, over bins of both kinds."""

import keras
import numpy as np
import pytest

from keras_calib.metrics import BinStatistics, ClasswiseECE, MultilabelECE
from keras_calib.ops.binning import fine_edges, fine_index
from tests.backends import every_compiler, slow_on_jax
from tests.metrics.reference import data

NORMS = ["l1", "l2", "l2_debiased", "max"]


def of_group(p, y, w, norm, binning):
    """The error of one group, from sums by numpy."""
    if binning == "equal_width":
        return BinStatistics.from_predictions(p, y, 7, w).ece(norm)
    p = p.astype("float64")
    index = fine_index(p)
    sums = [np.bincount(index, x, 4608) for x in (w, w * p, w * y)]
    return BinStatistics(*sums, edges=fine_edges()).equal_mass(7).ece(norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
def test_each_group_has_its_own_error(norm, binning):
    for cls, kind in ((ClasswiseECE, "classes"), (MultilabelECE, "labels")):
        y, p, w = data(kind, n=200, k=4)
        metric = cls(7, norm=norm, binning=binning)
        for rows in (slice(150), slice(150, None)):
            metric.update_state(y[rows], p[rows], w[rows])
        targets = np.eye(4)[y] if kind == "classes" else y
        expected = [
            of_group(p[:, k], targets[:, k], w, norm, binning) for k in range(4)
        ]
        found = keras.ops.convert_to_numpy(metric.per_group())
        np.testing.assert_allclose(found, expected, atol=2e-6)
        assert float(metric.result()) == pytest.approx(np.mean(expected), abs=2e-6)
        parts = [statistics.ece(norm) for statistics in metric.statistics()]
        np.testing.assert_allclose(parts, expected, atol=2e-6)
        again = cls.from_config(metric.get_config())
        assert (again.norm, again.binning) == (norm, binning)


@slow_on_jax
@every_compiler
def test_equal_mass_compiles(compiler):
    y, p, w = data("classes", n=60, k=3)
    metric = ClasswiseECE(5, binning="equal_mass", norm="l2")
    metric.update_state(y, p, w)
    expected = float(metric.result())
    state = [v.value for v in metric.variables]

    def result(*state):
        with keras.StatelessScope(list(zip(metric.variables, state, strict=True))):
            return metric.result()

    assert float(compiler(result)(*state)) == pytest.approx(expected, abs=1e-6)


@slow_on_jax
def test_a_group_without_samples_has_error_0():
    y, p = [0, 0, 1, 1], [[0.2, 0.9], [0.6, 0.7], [0.1, 0.3], [0.2, 0.2]]
    y = np.stack([y, [-1] * 4], -1)
    for norm in NORMS:
        for binning in ("equal_width", "equal_mass"):
            metric = MultilabelECE(3, norm=norm, binning=binning, ignore_class=-1)
            metric.update_state(y, p)
            assert float(metric.per_label()[1]) == 0.0
            assert np.isfinite(float(metric.result()))
            metric.reset_state()
            assert np.isnan(float(metric.result()))


@pytest.mark.parametrize("cls", [ClasswiseECE, MultilabelECE])
def test_what_is_no_norm_is_refused(cls):
    with pytest.raises(ValueError, match="`norm` must be one of 'l1', 'l2', 'l2_deb"):
        cls(norm="l3")
    with pytest.raises(ValueError, match="`binning` must be one of"):
        cls(binning="quantile")
