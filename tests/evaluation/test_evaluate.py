"""evaluate: everything about arrays, exactly, in one call."""

import tracemalloc

import numpy as np
import pytest

import keras_calib
from keras_calib import metrics
from keras_calib.evaluation import batches
from tests.backends import BACKEND, slow_on_jax
from tests.metrics import reference
from tests.metrics.reference import TABLE, data


@pytest.mark.parametrize("weighted", [False, True])
def test_figures_are_exact(weighted):
    y, p, w = data("classes")
    p = p.astype("float64")
    w = w.astype("float64") if weighted else np.ones(len(w))
    found = keras_calib.evaluate(y, p, sample_weight=w if weighted else None)
    expected = {
        "ece": reference.ece(y, p, w),
        "ece_l2": reference.ece(y, p, w, norm="l2"),
        "maximum_calibration_error": reference.ece(y, p, w, norm="max"),
        "equal_mass_ece": reference.equal_mass(y, p, w),
        "calibration_gap": reference.gap(y, p, w),
        "brier_score": reference.brier(y, p, w),
        "negative_log_likelihood": reference.nll(y, p, w),
        "predictive_entropy": reference.entropy(y, p, w),
        "classwise_ece": reference.classwise(y, p, w),
        "ks_calibration_error": reference.ks(y, p, w),
        "aurc": reference.aurc(y, p, w),
        "accuracy_at_coverage": reference.accuracy_at(y, p, w),
        "smooth_ece": reference.smooth(y, p, w),
        "accuracy": np.average(p.argmax(-1) == y, weights=w),
        **reference.decomposition(y, p, w),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    refinement = reference.refinement(y, p, w)
    assert found["refinement_loss"] == pytest.approx(refinement, abs=1e-4)
    over, under = found["overconfidence"], found["underconfidence"]
    assert over + under == pytest.approx(found["ece"])
    assert over - under == pytest.approx(found["calibration_gap"])
    assert found.statistics.ece() == found["ece"]
    assert "brier_score" in str(found)


@pytest.mark.skipif(BACKEND != "jax", reason="is about JAX, where float64 is asked for")
def test_figures_are_exact_on_jax_as_it_is():
    import jax

    y, p, w = data("classes")
    with jax.enable_x64(False):
        found = keras_calib.evaluate(y, p.astype("float64"), sample_weight=w)
    expected = keras_calib.evaluate(y, p.astype("float64"), sample_weight=w)
    assert found == expected
    assert found["brier_score"] == pytest.approx(
        reference.brier(y, p.astype("float64"), w), abs=1e-9
    )


@slow_on_jax
def test_chunks_of_a_memmap_show_a_bar_and_change_nothing(
    monkeypatch, tmp_path, capsys
):
    y, p, w = data("classes")
    expected = keras_calib.evaluate(y, p, sample_weight=w)
    assert capsys.readouterr().out == ""
    on_disk = np.memmap(tmp_path / "p", "float32", "w+", shape=p.shape)
    on_disk[:] = p
    monkeypatch.setattr(batches, "CHUNK", 77 * 5)
    found = keras_calib.evaluate(y, on_disk, sample_weight=w)
    assert "300/300" in capsys.readouterr().out
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    keras_calib.evaluate(y, on_disk, verbose=False)
    assert capsys.readouterr().out == ""


def test_only_a_chunk_is_read_at_a_time(monkeypatch):
    class Recorded(np.ndarray):
        largest = 0

        def __getitem__(self, index):
            found = np.asarray(super().__getitem__(index))
            Recorded.largest = max(Recorded.largest, found.size)
            return found

    y, p, _ = data("classes")
    monkeypatch.setattr(batches, "CHUNK", 50 * 5)
    keras_calib.evaluate(y, p.view(Recorded), verbose=False)
    assert Recorded.largest == 50 * 5


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize("from_logits", [False, True])
def test_binary_predictions_are_two_classes(shape, from_logits):
    y, p, w = data("binary")
    p = p.astype("float64")
    z = np.log(p) - np.log1p(-p)
    found = keras_calib.evaluate(
        y.reshape(shape),
        (z if from_logits else p).reshape(shape),
        from_logits=from_logits,
        sample_weight=w,
    )
    two = keras_calib.evaluate(
        y[:, 0], np.concatenate([1 - p, p], axis=1), sample_weight=w
    )
    for name, value in two.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    expected = TABLE["binary_ece"].expected(y, p, w.astype("float64"))
    assert found["binary_ece"] == pytest.approx(expected, abs=1e-9)


def test_ignored_labels_logits_and_images():
    y, p, _ = data("classes", n=120)
    ignored = np.where(np.arange(120) % 4, y, -1)
    expected = keras_calib.evaluate(y[ignored >= 0], p[ignored >= 0].astype("float64"))
    p = p.astype("float64")
    found = keras_calib.evaluate(
        ignored.reshape(4, 30),
        np.log(p / p.sum(-1, keepdims=True)).reshape(4, 30, 5),
        from_logits=True,
        ignore_class=-1,
    )
    for name in ("brier_score", "aurc", "ks_calibration_error", "calibration_gap"):
        assert found[name] == pytest.approx(expected[name], abs=1e-6), name


def test_the_classes_may_lie_along_any_axis_but_the_first():
    y, p, w = data("classes", n=120)
    y, p, w = y.reshape(4, 30), p.reshape(4, 30, 5), w.reshape(4, 30)
    expected = keras_calib.evaluate(y, p, sample_weight=w)
    first = np.moveaxis(p, -1, 1)
    for axis in (1, -2):
        assert keras_calib.evaluate(y, first, sample_weight=w, axis=axis) == expected
    y, p = data("binary", n=120)[0].reshape(4, 30, 1), p[..., :1]
    expected = keras_calib.evaluate(y, p)
    assert keras_calib.evaluate(y[..., 0], np.moveaxis(p, -1, 1), axis=1) == expected
    for axis in (0, -3, 3):
        with pytest.raises(ValueError, match="`axis` must be an axis of `y_pred`"):
            keras_calib.evaluate(y, p, axis=axis)


def test_memory_is_that_of_the_predictions():
    """A matrix of 3000 times 3000 classes takes 72 MB, these predictions 1."""
    n, k = 40, 3000
    p = np.random.default_rng(0).dirichlet(np.ones(k), n)
    y = np.arange(n)
    for function in (keras_calib.evaluate, keras_calib.check):
        function(y, p)
        tracemalloc.start()
        function(y, p)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40 * p.nbytes, function


@pytest.mark.parametrize("from_logits", [False, True])
def test_the_parts_of_the_brier_score_are_those_of_the_metric(monkeypatch, from_logits):
    y, p, w = data("classes")
    p = p.astype("float64")
    expected = metrics.BrierDecomposition(from_logits=from_logits, dtype="float64")
    expected.update_state(y, p, w)
    monkeypatch.setattr(batches, "CHUNK", 77 * 5)
    found = keras_calib.evaluate(
        y, p, sample_weight=w, from_logits=from_logits, validate=False, verbose=False
    )
    for name, part in expected.result().items():
        assert found[name] == pytest.approx(float(part), abs=1e-12), name


class Table:
    """Indexed by names, as pandas tables and columns are."""

    iloc = None

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        raise KeyError(key)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


def test_tables_that_are_indexed_by_name(monkeypatch):
    y, p, w = data("classes")
    expected = keras_calib.evaluate(y, p, sample_weight=w)
    monkeypatch.setattr(batches, "CHUNK", 77 * 5)
    found = keras_calib.evaluate(
        Table(y), Table(p), sample_weight=Table(w), verbose=False
    )
    assert found == pytest.approx(dict(expected), abs=1e-12)


def test_it_shows_itself_in_a_notebook():
    found = keras_calib.evaluate([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    assert "<td>ece</td><td>0.4500</td>" in found._repr_html_()


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(
    "y", [np.eye(2)[[0, 0, 1, 1]], np.array([[0.9, 0.1], [0.8, 0.2], [0, 1], [0, 1]])]
)
def test_targets_of_both_classes_beside_one_probability(y, from_logits):
    p = np.array([0.1, 0.2, 0.9, 0.8])
    z = np.log(p) - np.log1p(-p)
    expected = keras_calib.evaluate(y, np.stack([1 - p, p], -1))
    assert expected["ece"] == pytest.approx(0.5 * abs(y[:2, 0] - p[2:]).mean() + 0.075)
    for given in (z, z[:, None]) if from_logits else (p, p[:, None]):
        found = keras_calib.evaluate(y, given, from_logits=from_logits)
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-12), name
        binary = metrics.BinaryECE(from_logits=from_logits, dtype="float64")
        binary.update_state(y, given)
        assert found["binary_ece"] == pytest.approx(float(binary.result()), abs=1e-6)


Y, P = np.arange(4) % 2, np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8]])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"y_pred": np.log(P)}, "these are logits; use from_logits=True"),
        ({"from_logits": True}, "y_pred holds probabilities"),
        ({"y_pred": P / 2}, "does not sum to 1"),
        ({"y_pred": 100 * P}, "percentages"),
        ({"y_true": Y + 1}, "the first class is 0"),
        ({"y_true": Y + 0.5}, "not whole numbers"),
        ({"y_true": Y - 1}, "ignore_class=-1 if it marks"),
        ({"y_true": ["a", "b", "a", "b"]}, "`y_true` holds strings: encode them"),
        ({"sample_weight": [1, 1, -1, 1]}, "negative weights"),
        ({"sample_weight": [1, 1, np.nan, 1]}, "sample_weight holds NaN or inf"),
        ({"sample_weight": [1, 1, np.inf, 1]}, "sample_weight holds NaN or inf"),
        ({"y_pred": np.where(P == 0.3, np.nan, P)}, "y_pred holds NaN or infinity"),
        ({"y_true": 1, "y_pred": 0.5}, "must have an axis of the samples"),
    ],
)
@pytest.mark.parametrize("chunk", [2**21, 2])
def test_what_cannot_be_right_is_refused_in_any_chunk(
    monkeypatch, arguments, match, chunk
):
    monkeypatch.setattr(batches, "CHUNK", chunk)
    given = {"y_true": Y, "y_pred": P, "verbose": False, **arguments}
    if chunk == 2 and match in ("does not sum to 1", "y_pred holds probabilities"):
        pytest.skip("a row alone")
    with pytest.raises(ValueError, match=match):
        keras_calib.evaluate(**given)


def test_without_checks_predictions_that_are_nan_make_every_figure_nan():
    y, p, _ = data("classes")
    for nan in ([7], slice(None)):
        q = p.copy()
        q[nan] = np.nan
        found = keras_calib.evaluate(y, q, validate=False)
        assert np.isnan(list(found.values())).all(), found
        kept = np.ones(len(y))
        kept[nan] = 0.0
    kept = np.arange(len(y)) != 7
    q = np.where(kept[:, None], p, np.nan)
    found = keras_calib.evaluate(y, q, sample_weight=1.0 * kept)
    assert found == pytest.approx(dict(keras_calib.evaluate(y[kept], p[kept])))


def test_no_samples_and_bad_shapes_are_refused():
    for checked in (True, False):
        with pytest.raises(ValueError, match="is empty: give at least one sample"):
            keras_calib.evaluate(
                np.zeros(0, "int32"), np.zeros((0, 3)), validate=checked
            )
    with pytest.raises(ValueError, match=r"`y_true` and `y_pred`.*\(3,\).*\(4, 2\)"):
        keras_calib.evaluate(np.zeros(3), np.full((4, 2), 0.5))
    with pytest.raises(ValueError, match="`sample_weight` and `y_pred`"):
        keras_calib.evaluate(
            np.zeros(4), np.full((4, 2), 0.5), sample_weight=np.ones(3)
        )
    with pytest.raises(ValueError, match="`verbose` must be True or False"):
        keras_calib.evaluate([0], [[0.5, 0.5]], verbose="yes")
    for num_bins in (0, 1.5, "many", 10**11):
        with pytest.raises(ValueError, match="`num_bins` must be a whole number"):
            keras_calib.evaluate([0], [[0.5, 0.5]], num_bins=num_bins)


@slow_on_jax
def test_small_smooth_errors_are_measured_on_a_finer_grid():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 50_000)
    y = (p.cumsum(-1) < rng.random((50_000, 1))).sum(-1)
    streamed = metrics.SmoothECE()
    streamed.update_state(y, p)
    found = keras_calib.evaluate(y, p)["smooth_ece"]
    assert found < 0.01
    assert float(streamed.result()) == pytest.approx(found, abs=2e-3)


@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [
        (np.eye(2)[[1, 0]], np.array([[0.8, 0.2], [0.5, 0.5]])),
        (np.array([0.25, 0.75]), np.array([0.1, 0.9])),
    ],
    ids=["one_hot", "soft_binary"],
)
def test_targets_are_measured_on_every_backend(y_true, y_pred):
    found = keras_calib.evaluate(y_true, y_pred)
    p = y_pred if y_pred.ndim == 2 else np.stack([1 - y_pred, y_pred], -1)
    t = y_true if y_true.ndim == 2 else np.stack([1 - y_true, y_true], -1)
    expected = -(t * np.log(p)).sum(-1).mean()
    assert found["negative_log_likelihood"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [{"axis": 1.5}, {"axis": True}, {"ignore_class": 2.5}, {"ignore_class": True}],
    ids=str,
)
def test_numbers_that_are_not_whole(arguments):
    y, p = [0, 1], [[0.8, 0.2], [0.5, 0.5]]
    for function in (keras_calib.evaluate, keras_calib.check):
        with pytest.raises(ValueError, match="must be a whole number"):
            function(y, p, **arguments)


@pytest.mark.parametrize("coverage", [0.0, -1.0, 2.0])
def test_coverage_is_a_fraction(coverage):
    with pytest.raises(ValueError, match="`coverage` must be a number in"):
        keras_calib.evaluate([0, 1], [[0.8, 0.2], [0.5, 0.5]], coverage=coverage)


def test_without_checks_what_cannot_be_makes_every_figure_nan():
    y, p = [0, 1, 0, 1], [[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]]
    beyond, negative = [0, 1, 2, 1], [1.0, 1.0, -1.0, 1.0]
    for found in (
        keras_calib.evaluate(beyond, p, validate=False),
        keras_calib.evaluate(y, p, sample_weight=negative, validate=False),
        keras_calib.evaluate(y, 3 * np.array(p), validate=False),
        keras_calib.evaluate(y, p, sample_weight=np.zeros(4), validate=False),
    ):
        figures = set(found) - {"ece_low", "ece_high"}
        assert all(np.isnan(found[name]) for name in figures), found
