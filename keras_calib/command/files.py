"""Columns of files as arrays: numpy reads npz and npy, DuckDB the other formats."""

from __future__ import annotations

import contextlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from keras_calib.arguments import counted

_READERS = {
    ".parquet": "read_parquet",
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}


class FileError(ValueError):
    """The error for a file that cannot be read or lacks a column, in one line."""


class Columns:
    """The columns of a file by name, each read when it is asked for.

    Args:
        path: the file, whose suffix says its format.

    Raises:
        FileError: if the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        kind = Path(path).suffix.lower()
        if not Path(path).is_file():
            raise FileError(f"{path}: there is no such file")
        if kind in (".npy", ".npz"):
            self._table, self._arrays = None, _of_numpy(path, kind)
            self.names = list(self._arrays)
        elif kind in _READERS:
            self._table, self._arrays = _of_duckdb(path, _READERS[kind]), {}
            self.names = self._table.columns
        else:
            known = ", ".join([*_READERS, ".npz", ".npy"])
            raise FileError(f"{path}: the file must be one of {known}")

    def matching(self, pattern: str) -> list[str]:
        """Returns the names that a pattern such as `p_*` matches, in their order."""
        found = [name for name in self.names if fnmatchcase(name, pattern)]
        if not found:
            shown = ", ".join(map(repr, self.names[:12]))
            raise FileError(
                f"{self.path}: no column is named {pattern!r}; it has {shown}"
            )
        return found

    def read(self, name: str) -> np.ndarray:
        """Returns a column, which must have a value in each row."""
        self.matching(re.sub(r"([*?[])", r"[\1]", name))
        if self._table is None:
            with _said_in_one_line(self.path):
                return np.asanyarray(self._arrays[name])
        import duckdb

        try:
            found = self._table.select(duckdb.ColumnExpression(name)).fetchnumpy()
        except duckdb.Error as error:
            raise FileError(f"{self.path}: {_first_line(error)}") from error
        (column,) = found.values()
        if np.ma.is_masked(column):
            rows = counted(int(column.mask.sum()), "row")
            raise FileError(f"{self.path}: column {name!r} is empty in {rows}")
        return np.asarray(column)

    def predictions(self, pattern: str) -> tuple[np.ndarray, list[str]]:
        """Returns predictions of shape `(N, K)`, or `(N,)`, and what `*` stands for."""
        names = self.matching(pattern)
        first = self._number(names[0])
        if len(names) == 1:
            return first, names
        p = np.empty((len(first), len(names)), first.dtype)
        for k, name in enumerate(names):
            column = first if k == 0 else self._number(name)
            p = p.astype(np.result_type(p, column), copy=False)
            p[:, k] = column
        if pattern.count("*") != 1:
            return p, names
        start, end = map(len, pattern.split("*"))
        return p, [name[start : len(name) - end] for name in names]

    def _number(self, name: str) -> np.ndarray:
        column = self.read(name)
        texts = column.dtype.kind == "O" and isinstance(next(column.flat, ""), str)
        if texts or column.dtype.kind not in "biufO":
            raise FileError(f"{self.path}: column {name!r} holds no numbers")
        return column

    def labels(self, name: str, classes: list[str]) -> np.ndarray:
        """Returns labels; the names of classes become their numbers."""
        column = self.read(name)
        texts = column.dtype.kind in "SUO" and any(isinstance(x, str) for x in column)
        if not texts:
            return column
        place = {name: k for k, name in enumerate(classes)}
        unknown = sorted({str(x) for x in column} - place.keys())
        if unknown:
            raise FileError(
                f"{self.path}: column {name!r} holds {unknown[0]!r}, which is not one "
                f"of the classes {', '.join(map(repr, classes[:12]))}"
            )
        return np.array([place[x] for x in column])

    def labels_of(self, pattern: str, classes: list[str]) -> np.ndarray:
        """Returns independent labels of shape `(N, L)`, in the order of their classes.

        Args:
            pattern: the columns; `*` must stand for the same names as in the
                predictions.
            classes: the names that it stands for there.
        """
        y, found = self.predictions(pattern)
        if len(classes) < 2:
            return y
        place = {name: k for k, name in enumerate(found)}
        if place.keys() != set(classes):
            given, wanted = (", ".join(x[:12]) for x in (found, classes))
            raise FileError(
                f"{self.path}: {pattern!r} stands for {given}, and in the predictions "
                f"for {wanted}"
            )
        return y[:, [place[name] for name in classes]]


def _of_numpy(path: str, kind: str) -> Mapping[str, Any]:
    with _said_in_one_line(path):
        found = np.load(path, mmap_mode="r")
    return found if kind == ".npz" else {Path(path).stem: found}


@contextlib.contextmanager
def _said_in_one_line(path: str) -> Iterator[None]:
    """Turns what numpy raises for a file into a FileError."""
    try:
        yield
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(f"{path}: {_first_line(error)}") from error


def _of_duckdb(path: str, reader: str) -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise FileError(
            f"{path}: reading it needs DuckDB: pip install 'keras-calib[files]'"
        ) from error
    connection = duckdb.connect()
    try:
        table = getattr(connection, reader)(path)
        # Text is parsed once, not once for each column.
        return table if reader == "read_parquet" else _kept(connection, table)
    except duckdb.Error as error:
        raise FileError(f"{path}: {_first_line(error)}") from error


def _kept(connection: Any, table: Any) -> Any:
    table.create("file")
    return connection.table("file")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
