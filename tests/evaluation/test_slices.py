"""One row a slice, and the smallest first in the warning."""

import numpy as np
import pytest

import keras_calib
from keras_calib.evaluation import batches
from tests.backends import slow_on_jax
from tests.metrics.reference import data

Y, P, W = data("classes")
NAMES = np.array(["west", "north", "south"])[np.arange(300) % 7 % 3]


@slow_on_jax
@pytest.mark.filterwarnings("ignore:.*slices have fewer")
@pytest.mark.parametrize("exact", [None, False])
def test_each_slice_is_its_own_evaluation(exact, monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 77 * 5)
    how = {"exact": exact, "verbose": False}
    found = keras_calib.evaluate(Y, P, sample_weight=W, by=NAMES, **how)
    whole = keras_calib.evaluate(Y, P, sample_weight=W, **how)
    assert found == whole
    assert list(found.slices) == ["north", "south", "west"]
    for name, part in found.slices.items():
        rows = name == NAMES
        expected = keras_calib.evaluate(Y[rows], P[rows], sample_weight=W[rows], **how)
        assert part == pytest.approx(dict(expected), abs=1e-12)
    first, *others = (part.statistics for part in found.slices.values())
    total = sum(others, start=first)
    for column in ("weight", "confidence", "hits", "squared_error"):
        parts, one = (getattr(s, column) for s in (total, found.statistics))
        np.testing.assert_allclose(parts, one, atol=1e-12)


@slow_on_jax
def test_the_smallest_are_warned_of_first():
    by = np.repeat(["big", "few", "one"], [250, 49, 1])
    with pytest.warns(UserWarning, match=r"2 of 3 slices .*: one \(1\), few \(49\)$"):
        found = keras_calib.evaluate(Y, P, by=by)
    rows = [line.split() for line in str(found.slices).splitlines()]
    assert rows[0][:3] == ["slice", "n", "accuracy"]
    assert {row[0]: int(row[1]) for row in rows[1:]} == {
        "big": 250,
        "few": 49,
        "one": 1,
    }
    assert str(found).endswith(str(found.slices))
    assert found.slices._repr_html_() in found._repr_html_()
    assert found.to_dict()["slices"]["one"]["n"] == 1


@slow_on_jax
@pytest.mark.filterwarnings("ignore:.*slices have fewer")
def test_values_of_any_kind():
    for by, names in (
        (np.arange(300) % 2, [0, 1]),
        (np.arange(300) % 2 == 0, [False, True]),
        (np.array(["a", 1] * 150, object), ["a", 1]),
        (np.datetime64("2026-01-01") + np.arange(300) // 150, None),
    ):
        found = keras_calib.evaluate(Y, P, by=by)
        assert len(found.slices) == 2
        assert names is None or list(found.slices) == names
    pd = pytest.importorskip("pandas")
    column = pd.Series(NAMES, dtype="category")
    found = keras_calib.evaluate(Y, P, by=column).slices
    assert list(found) == ["north", "south", "west"]
    frame = found.to_frame()
    assert frame.loc["north", "ece"] == found["north"]["ece"]
    assert frame.loc["west", "n"] == (NAMES == "west").sum()


@slow_on_jax
def test_a_slice_without_a_sample_that_counts():
    ignored = np.where(NAMES == "west", -1, Y)
    with pytest.warns(UserWarning, match=r": west \(0\)"):
        found = keras_calib.evaluate(ignored, P, by=NAMES, ignore_class=-1)
    assert np.isnan(found.slices["west"]["ece"])
    assert found.slices["north"]["ece"] > 0


@slow_on_jax
@pytest.mark.filterwarnings("ignore:.*slices have fewer")
def test_images_and_ensembles():
    by = NAMES[:30]
    images = Y.reshape(30, 2, 5), P.reshape(30, 2, 5, 5)
    found = keras_calib.evaluate(*images, by=by).slices["north"]
    rows = np.repeat(by == "north", 10)
    assert found == pytest.approx(dict(keras_calib.evaluate(Y[rows], P[rows])))
    several = keras_calib.evaluate(Y, np.stack([P, P]), members=0, by=NAMES)
    assert len(several.slices["south"].members) == 2


class Unknown:
    """As pandas's NA, of which nobody knows whether it is equal to itself."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self


@pytest.mark.parametrize(
    ("by", "match"),
    [
        (NAMES[1:], "one value for each sample.* 299 values, at least 300"),
        (np.stack([NAMES, NAMES]), r"by.shape=\(2, 300\)"),
        ([None, *NAMES[1:]], "has missing values"),
        (np.array([Unknown(), *NAMES[1:]], object), "has missing values"),
        (np.where(NAMES == "west", np.nan, 1.0), "has missing values"),
        (np.ma.masked_array(NAMES, NAMES == "west"), "has missing values"),
        ("region", r"by.shape=\(\)"),
    ],
)
def test_what_tells_no_slices_apart_is_refused(by, match):
    with pytest.raises(ValueError, match=match):
        keras_calib.evaluate(Y, P, by=by)


@slow_on_jax
def test_slices_of_a_stream():
    expected = keras_calib.evaluate(Y, P, by=NAMES).slices
    batches = [(Y[:70], P[:70]), (Y[70:], P[70:])]
    assert keras_calib.evaluate(batches, by=NAMES).slices == expected
    for by in (NAMES[1:], [*NAMES, "north"]):
        with pytest.raises(ValueError, match="one value for each sample. Received"):
            keras_calib.evaluate(batches, by=by)
