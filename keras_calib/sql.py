"""Sums over bins of confidence, computed by the database that holds the predictions."""

from __future__ import annotations

from typing import Literal, TypeAlias

from keras_calib.arguments import one_of, whole_number
from keras_calib.ops.binning import equal_width_edges

__all__ = ["bin_sums"]

Precision: TypeAlias = Literal["float32", "float64"]


def bin_sums(
    confidence: str,
    hit: str,
    num_bins: int = 15,
    *,
    table: str = "predictions",
    weight: str = "1",
    dtype: Precision = "float64",
    double: str = "DOUBLE",
) -> str:
    """Returns a query whose rows `BinStatistics.from_table` reads.

    It is plain SQL, which DuckDB, polars, Spark and others run where the predictions
    are: one row for each bin that holds samples, with four sums. The bins are those of
    this package. The arguments are inserted into the query unescaped, so they must not
    come from untrusted users.

    Rows whose confidence or hit is NULL, NaN or outside [0, 1], or whose weight is NULL
    or negative, get the bin NULL, which `from_table` refuses.

    Args:
        confidence: the column of the confidences, or an expression.
        hit: the column that is 1 where the prediction was right, else 0; or an
            expression, such as `"CAST(predicted = label AS INT)"`.
        num_bins: the number of equal-width bins.
        table: the table.
        weight: the column of the weights, or an expression.
        dtype: the dtype of the confidences, to which the edges are rounded: a float32
            0.7 then lies on the edge 7/10.
        double: the database's name for float64; `"FLOAT64"` in BigQuery.

    Raises:
        ValueError: for fewer than one bin, and for another dtype.

    Example:

    >>> from keras_calib.sql import bin_sums
    >>> print(bin_sums("confidence", "hit", 2))
    SELECT bin, SUM(w) AS weight, SUM(w * c) AS confidence, SUM(w * h) AS hits,
      SUM(w * (c - h) * (c - h)) AS squared_error
    FROM (
      SELECT c, h, w,
        CASE WHEN c >= 0 AND c <= 1 AND h >= 0 AND h <= 1 AND w >= 0 THEN
          CASE WHEN c < 5.0000000000000000e-01 THEN 0
          ELSE 1 END
        END AS bin
      FROM (
        SELECT CAST(confidence AS DOUBLE) AS c, CAST(hit AS DOUBLE) AS h,
          CAST(1 AS DOUBLE) AS w
        FROM predictions
      ) AS given
    ) AS binned
    GROUP BY bin
    """
    edges = equal_width_edges(whole_number("num_bins", num_bins))[1:-1]
    rounded = edges.astype(one_of("dtype", dtype, Precision)).astype("float64")
    bins = f"{num_bins - 1}"
    if num_bins > 1:
        cases = "\n      ".join(
            f"WHEN c < {edge:.16e} THEN {i}" for i, edge in enumerate(rounded)
        )
        bins = f"CASE {cases}\n      ELSE {num_bins - 1} END"
    return f"""\
SELECT bin, SUM(w) AS weight, SUM(w * c) AS confidence, SUM(w * h) AS hits,
  SUM(w * (c - h) * (c - h)) AS squared_error
FROM (
  SELECT c, h, w,
    CASE WHEN c >= 0 AND c <= 1 AND h >= 0 AND h <= 1 AND w >= 0 THEN
      {bins}
    END AS bin
  FROM (
    SELECT CAST({confidence} AS {double}) AS c, CAST({hit} AS {double}) AS h,
      CAST({weight} AS {double}) AS w
    FROM {table}
  ) AS given
) AS binned
GROUP BY bin"""
