"""Sums of Beam are those of one pass, whatever the bundles and the workers."""

import pickle

import numpy as np
import pytest

import keras_calib
from keras_calib import metrics
from keras_calib.metrics import BinStatistics

beam = pytest.importorskip("apache_beam", reason="needs the extra beam: make test-beam")

from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402

from keras_calib.beam import BinStatisticsFn  # noqa: E402

N = 2500


def samples():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), N).astype("float32")
    y = (np.log(p) + rng.gumbel(size=p.shape)).argmax(-1)
    many = (rng.random(p.shape) < p).astype(int)
    return p, y, many, rng.random(N), rng.integers(0, 2, N)


P, Y, MANY, W, REGION = samples()
Z, ROOTS, ONE, HIT = np.log(P), np.sqrt(P), P[:, 0], MANY[:, 0]


def evaluated(y, p, w, **how):
    return keras_calib.evaluate(y, p, sample_weight=w, **how)


def of_label_1(y, p, w):
    return BinStatistics.from_predictions(p, y, sample_weight=w)


KINDS = {
    "top label": (None, Y, P, lambda: evaluated(Y, P, W).statistics),
    "logits": (
        metrics.ExpectedCalibrationError(from_logits=True),
        Y,
        Z,
        lambda: evaluated(Y, Z, W, from_logits=True).statistics,
    ),
    "classwise": (metrics.ClasswiseECE(), Y, P, lambda: evaluated(Y, P, W).per_class),
    "binary": (metrics.BinaryECE(), HIT, ONE, lambda: of_label_1(HIT, ONE, W)),
    "two classes": (
        metrics.ExpectedCalibrationError(10),
        HIT,
        ONE,
        lambda: evaluated(HIT, ONE, W, num_bins=10).statistics,
    ),
    "labels": (
        metrics.MultilabelECE(),
        MANY,
        ROOTS,
        lambda: evaluated(MANY, ROOTS, W, multilabel=True).per_class,
    ),
    "fine bins": (
        metrics.AURC(),
        Y,
        P,
        lambda: evaluated(Y, P, W, exact=False).fine_statistics,
    ),
    "ignored": (
        metrics.ExpectedCalibrationError(ignore_class=-1),
        np.where(Y == 2, -1, Y),
        P,
        lambda: evaluated(Y[Y != 2], P[Y != 2], W[Y != 2]).statistics,
    ),
}


def assert_equal(found, expected):
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
        return
    np.testing.assert_array_equal(found.edges, expected.edges)
    for a, b in zip(found.sums, expected.sums, strict=True):
        if a is None:  # squared errors, which the order of confidences does not need
            continue
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def rows(y, p, w=W):
    return list(zip(y.tolist(), list(p), w.tolist(), strict=True))


@pytest.mark.parametrize(("metric", "y", "p", "expected"), KINDS.values(), ids=KINDS)
def test_parts_of_any_size_add_up(metric, y, p, expected):
    fn = pickle.loads(pickle.dumps(BinStatisticsFn(metric)))
    given = rows(y, p)
    accumulators, start = [], 0
    for size in (0, 1, 3, 999, 1000, 1, N):
        accumulator = fn.create_accumulator()
        for row in given[start : start + size]:
            accumulator = fn.add_input(accumulator, row)
        start += size
        accumulators.append(fn.compact(accumulator) if size % 2 else accumulator)
    some = fn.merge_accumulators(accumulators[3:])
    found = fn.merge_accumulators([*accumulators[:3], some])
    assert_equal(fn.extract_output(found), expected())


def combined(given, transform, folder, workers=1):
    """Runs a pipeline, and returns what it writes."""
    out = folder / "out"
    options = PipelineOptions(
        runner="DirectRunner",
        direct_num_workers=workers,
        direct_running_mode="multi_threading",
    )
    with beam.Pipeline(options=options) as pipeline:
        written = pipeline | given | transform | beam.Map(as_text)
        _ = written | beam.io.WriteToText(str(out))
    texts = [path.read_text() for path in sorted(folder.glob("out*"))]
    return [eval(line) for text in texts for line in text.splitlines()]


def as_text(found):
    key, statistics = found if isinstance(found, tuple) else (None, found)
    return repr((key, statistics.to_dict()))


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_pipelines_of_any_number_of_workers_agree(workers, tmp_path):
    given = beam.Create(rows(Y, P), reshuffle=True)
    combine = beam.CombineGlobally(BinStatisticsFn())
    ((_, found),) = combined(given, combine, tmp_path, workers)
    expected = evaluated(Y, P, W)
    assert_equal(BinStatistics.from_dict(found), expected.statistics)
    ece = BinStatistics.from_dict(found).ece()
    assert ece == pytest.approx(expected["ece"], abs=1e-12)


def test_slices_of_a_file(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    region = np.array(["north", "south"])[REGION]
    columns = {f"p_{k}": P[:, k] for k in range(4)}
    table = pa.table({"y": Y, "w": W, "region": region, **columns})
    parquet.write_table(table, tmp_path / "p.parquet", row_group_size=300)
    given = (
        beam.io.ReadFromParquet(str(tmp_path / "p.parquet"))
        | beam.Map(by_region).with_output_types(tuple[str, object])
        | beam.CombinePerKey(BinStatisticsFn())
    )
    found = dict(combined(given, beam.Map(lambda x: x), tmp_path, 2))
    slices = evaluated(Y, P, W, by=region).slices
    assert found.keys() == slices.keys()
    for name, statistics in found.items():
        assert_equal(BinStatistics.from_dict(statistics), slices[name].statistics)
    total = sum(
        map(BinStatistics.from_dict, found.values()), start=BinStatistics(*ZERO)
    )
    assert_equal(total, evaluated(Y, P, W).statistics)


ZERO = np.zeros((4, 15))


def by_region(row):
    p = np.array([row[f"p_{k}"] for k in range(4)], "float32")
    return row["region"], (row["y"], p, row["w"])


def test_no_row_and_rows_without_weights():
    fn = BinStatisticsFn()
    assert fn.extract_output(fn.create_accumulator()).total == 0
    classes = BinStatisticsFn(metrics.ClasswiseECE())
    assert classes.extract_output(classes.create_accumulator()) == []
    accumulator = fn.create_accumulator()
    for y, p in zip(Y.tolist(), list(P), strict=True):
        accumulator = fn.add_input(accumulator, (y, p))
    found = fn.extract_output(accumulator)
    assert_equal(found, keras_calib.evaluate(Y, P).statistics)


@pytest.mark.parametrize(
    ("metric", "given", "match"),
    [
        (None, [(0, [0.5, 0.4])], "does not sum to 1"),
        (None, [(0, [3.0, -1.0])], "use from_logits=True"),
        (None, [(2, [0.5, 0.5])], "labels are not in"),
        (None, [(0, [0.5, 0.5], -1.0)], "weight"),
        (None, [(0, [0.5, 0.5]), (0, [0.2, 0.3, 0.5])], "same number of classes"),
        (None, [(0,)], "a row must be"),
        (metrics.BinaryECE(), [(2, 0.5)], "binary labels are not in"),
    ],
)
def test_rows_that_cannot_be_right_are_refused(metric, given, match):
    fn = BinStatisticsFn(metric)
    accumulator = fn.create_accumulator()
    with pytest.raises(ValueError, match=match):
        for row in given:
            accumulator = fn.add_input(accumulator, row)
        fn.extract_output(accumulator)


def test_bundles_of_other_classes_and_other_metrics_are_refused():
    fn = BinStatisticsFn(metrics.ClasswiseECE())
    parts = [
        fn.add_input(fn.create_accumulator(), (0, p))
        for p in ([0.5, 0.5], [0.2, 0.3, 0.5])
    ]
    with pytest.raises(ValueError, match="the same number of classes"):
        fn.merge_accumulators(parts)
    for metric in (metrics.BrierScore(), "ece"):
        with pytest.raises(ValueError, match="must be a metric with bins"):
            BinStatisticsFn(metric)
