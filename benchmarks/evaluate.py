"""Time to evaluate a memmap, compared with reading it for its maximum and argmax."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import keras_calib
from benchmarks.stream import NUM_CLASSES, samples
from benchmarks.timing import Row, interleaved, ratios
from keras_calib.metrics import BinStatistics
from keras_calib.sql import bin_sums

BACKENDS = ("tensorflow", "jax", "torch")

# Samples on disk; the time of each does not depend on their number.
SAMPLES = 2_000_000
_CHUNK = 200_000
_NOTES = {
    "sql.bin_sums by DuckDB": "confidences and hits in parquet; beside the same",
    "calibration_curve of scikit-learn": "of max and argmax; beside the same",
    "ECE of netcal": "in memory; beside the same",
}


def rows() -> Iterator[Row]:
    """Yields the ratios of the times."""
    with tempfile.TemporaryDirectory() as folder:
        y, p = _on_disk(Path(folder))

        def bare() -> None:
            for start in range(0, SAMPLES, _CHUNK):
                chunk = p[start : start + _CHUNK]
                chunk.max(-1)
                chunk.argmax(-1)

        def evaluate(**how: bool) -> None:
            keras_calib.evaluate(y, p, verbose=False, exact=False, **how)

        functions = {
            "bare": bare,
            "top label": lambda: evaluate(top_label_only=True),
            "all figures": evaluate,
        }
        functions |= _peers(Path(folder), y, p)
        found = ratios(interleaved(functions, rounds=20, warm_up=1), "bare")
        size = f"{SAMPLES:.0e} x {NUM_CLASSES} memmap"
        note = "exact=False; beside max + argmax in numpy"
        yield Row(f"evaluate, top label, {size}", found["top label"], 2.0, note)
        yield Row(f"evaluate, all figures, {size}", found["all figures"], None, note)
        for name, note in _NOTES.items():
            if name in found:
                yield Row(f"{name}, {SAMPLES:.0e}", found[name], None, note)


def _peers(
    folder: Path, y: np.ndarray, p: np.ndarray
) -> dict[str, Callable[[], object]]:
    """Returns what else computes an ECE, of the packages that are installed."""
    found: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("duckdb"):
        found["sql.bin_sums by DuckDB"] = _duckdb(folder / "top.parquet", y, p)
    if importlib.util.find_spec("sklearn"):
        from sklearn.calibration import calibration_curve

        found["calibration_curve of scikit-learn"] = lambda: calibration_curve(
            p.argmax(-1) == y, p.max(-1), n_bins=15
        )
    if importlib.util.find_spec("netcal"):
        from netcal.metrics import ECE

        found["ECE of netcal"] = lambda: ECE(15).measure(np.asarray(p), np.asarray(y))
    return found


def _duckdb(path: Path, y: np.ndarray, p: np.ndarray) -> Callable[[], object]:
    """Writes confidences and hits, and returns the query of the bin sums."""
    import duckdb

    connection = duckdb.connect()
    top = {"c": p.max(-1), "h": p.argmax(-1) == y}
    connection.register("top", top)
    connection.execute(f"COPY (SELECT * FROM top) TO '{path}' (FORMAT PARQUET)")
    query = bin_sums("c", "h", table=f"'{path}'", dtype="float32")

    def run() -> object:
        rows = connection.execute(query).fetchall()
        return BinStatistics.from_table(rows).ece()

    return run


def _on_disk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Writes the same samples again and again."""
    labels, probabilities = samples(_CHUNK)
    y = np.memmap(folder / "y", "int32", "w+", shape=SAMPLES)
    p = np.memmap(folder / "p", "float32", "w+", shape=(SAMPLES, NUM_CLASSES))
    for start in range(0, SAMPLES, _CHUNK):
        y[start : start + _CHUNK], p[start : start + _CHUNK] = labels, probabilities
    return y, p
