"""The query of bin sums gives the statistics of the arrays, in each engine."""

import shutil

import numpy as np
import pytest

from keras_calib.metrics import BinStatistics
from keras_calib.sql import bin_sums


def columns(num_bins, dtype, n=2000):
    """Confidences, some of them on edges or next to one, hits and weights."""
    edges = (np.arange(num_bins + 1) / num_bins).astype(dtype)
    near = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 1)])
    rng = np.random.default_rng(0)
    c = np.concatenate([near.clip(0, 1), rng.random(n).astype(dtype)]).astype(dtype)
    return c, rng.integers(0, 2, len(c)), rng.random(len(c))


def by_duckdb(query, c, h, w):
    duckdb = pytest.importorskip("duckdb")
    pa = pytest.importorskip("pyarrow")
    predictions = pa.table({"c": c, "h": h, "w": w})
    connection = duckdb.connect()
    connection.register("predictions", predictions)
    return connection.execute(query).fetchall()


def by_polars(query, c, h, w):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"c": c, "h": h, "w": w})
    return pl.SQLContext(predictions=frame).execute(query).collect().rows()


def by_sqlite(query, c, h, w):
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE predictions (c REAL, h INTEGER, w REAL)")
    rows = zip(c.tolist(), h.tolist(), w.tolist(), strict=True)
    connection.executemany("INSERT INTO predictions VALUES (?, ?, ?)", rows)
    return connection.execute(query.replace("DOUBLE", "REAL")).fetchall()


def by_spark(query, c, h, w):
    sql = pytest.importorskip("pyspark.sql", reason="needs PySpark: make test-beam")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    builder = sql.SparkSession.builder.master("local[1]")
    for name, value in SPARK.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    kind = {"float32": "float", "float64": "double"}[c.dtype.name]
    rows = list(zip(*(x.astype(float).tolist() for x in (c, h, w)), strict=True))
    frame = spark.createDataFrame(rows, f"c {kind}, h double, w double")
    frame.createOrReplaceTempView("predictions")
    return [tuple(row) for row in spark.sql(query).collect()]


SPARK = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
}
ENGINES = [by_duckdb, by_polars, by_sqlite, by_spark]
every_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.__name__)


@every_engine
@pytest.mark.parametrize("num_bins", [1, 10, 20, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_are_those_of_the_arrays(engine, num_bins, dtype):
    c, h, w = columns(num_bins, dtype)
    for weight, given in (("1", None), ("w", w)):
        query = bin_sums("c", "h", num_bins, weight=weight, dtype=dtype)
        found = BinStatistics.from_table(engine(query, c, h, w), num_bins)
        expected = BinStatistics.from_predictions(c, h, num_bins, given)
        for name in ("weight", "confidence", "hits", "squared_error"):
            sums, right = getattr(found, name), getattr(expected, name)
            np.testing.assert_allclose(sums, right, rtol=1e-12, atol=1e-12)
        assert found.ece() == pytest.approx(expected.ece(), abs=1e-12)


@every_engine
@pytest.mark.parametrize("wrong", [None, np.nan, -0.1, 1.1])
def test_what_is_no_confidence_is_refused(engine, wrong):
    if engine is by_duckdb and wrong is None:
        c = [0.5, None]
    else:
        c = np.array([0.5, np.nan if wrong is None else wrong])
    if engine is by_sqlite:
        c = np.asarray(c, "float64")
    rows = engine(bin_sums("c", "h"), c, np.ones(2, int), np.ones(2))
    with pytest.raises(ValueError, match="look at the rows of the bin NULL"):
        BinStatistics.from_table(rows)


@every_engine
def test_a_weight_or_hit_that_is_no_number_is_refused(engine):
    for c, h, w in ((0.5, 2, 1.0), (0.5, 1, -1.0)):
        arrays = np.array([c, 0.7]), np.array([h, 1]), np.array([w, 1.0])
        rows = engine(bin_sums("c", "h", weight="w"), *arrays)
        with pytest.raises(ValueError, match="look at the rows of the bin NULL"):
            BinStatistics.from_table(rows)


def test_parts_add_up_and_other_rows_are_refused():
    parts = [(0, 1, 0.2, 0, 0.04), (1, 2, 1.5, 1, 0.5), (1, 1, 0.9, 1, 0.01)]
    found = BinStatistics.from_table(parts, 2)
    assert found.weight.tolist() == [1, 3] and found.hits.tolist() == [0, 2]
    for row in ((2, 1, 1, 1, 0), (-1, 1, 1, 1, 0), (0, 1, 1)):
        with pytest.raises(ValueError, match="a bin below num_bins, and four sums"):
            BinStatistics.from_table([row], 2)


def test_bigquery_has_another_name_for_double():
    query = bin_sums("c", "h", 3, table="`project.data.predictions`", double="FLOAT64")
    assert "CAST(c AS FLOAT64)" in query and "DOUBLE" not in query
    assert "FROM `project.data.predictions`" in query
    assert query.count("WHEN c < ") == 2


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"num_bins": 0}, "`num_bins` must be a whole number"),
        ({"dtype": "float16"}, "`dtype` must be one of 'float32', 'float64'"),
    ],
)
def test_bad_arguments(how, match):
    with pytest.raises(ValueError, match=match):
        bin_sums("c", "h", **how)
