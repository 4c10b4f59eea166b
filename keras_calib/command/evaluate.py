"""Measures the calibration of predictions in files, and writes reports."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_calib.command.files import Columns, FileError
from keras_calib.command.report import html_report
from keras_calib.command.thresholds import Threshold
from keras_calib.evaluation import Comparison, Evaluation, compare, evaluate

_EXAMPLE = """\
example:
  python -m keras_calib evaluate predictions.parquet --label y \\
      --probabilities 'p_*' --by region --out report.html --fail-if 'ece > 0.05'

exit status: 0; 1 if a threshold is broken; 2 if a file or an argument is wrong.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (FileError, ValueError, OSError) as error:
        print(f"keras_calib: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("keras_calib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser(
        "evaluate",
        help="measure the calibration of predictions in a file",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_argument
    add("file", help="parquet, csv, jsonl, npz or npy")
    add(
        "--label",
        required=True,
        help="the column of the labels, or for npy their file; with --multilabel a "
        "pattern such as 'y_*'",
    )
    add(
        "--probabilities",
        metavar="P",
        help="the column of the probability of label 1, or a pattern such as 'p_*' for "
        "those of all classes, in the order of the file",
    )
    add("--logits", metavar="Z", help="the same, for logits")
    add("--weight", help="the column of the weights")
    add("--by", help="a column: the rows of each of its values are measured alone, too")
    add("--compare", metavar="FILE", help="a file of another model on the same samples")
    add("--num-bins", type=int, default=15, help="the number of bins (15)")
    add("--ignore-class", type=int, help="a label whose samples are ignored")
    add(
        "--multilabel",
        action="store_true",
        help="the columns hold independent labels, each 0 or 1",
    )
    add("--top-k", type=int, metavar="K", help="measure the K most probable classes")
    add("--fast", action="store_true", help="measure the predicted class alone")
    add("--out", action="append", default=[], help="write a report: .html or .json")
    add(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help="exit with status 1 if a condition holds: 'ece > 0.05', 'ece_low > 0.02'",
    )
    return parser


def _run(options: argparse.Namespace) -> int:
    thresholds = [Threshold.parse(text) for text in options.fail_if]
    for path in options.out:
        if Path(path).suffix not in (".html", ".json"):
            raise ValueError(f"--out must end in .html or .json. Received: {path}")
        if Path(path).is_dir() or not Path(path).parent.is_dir():
            raise ValueError(f"--out must be a file in a folder that exists: {path}")
    if (options.probabilities is None) == (options.logits is None):
        raise ValueError("give either --probabilities or --logits")
    given = _Given(options.file, options)
    how = {
        "from_logits": options.logits is not None,
        "sample_weight": given.column(options.weight),
        "num_bins": options.num_bins,
        "ignore_class": options.ignore_class,
        "exact": False if options.fast else None,
        "top_label_only": options.fast,
        "multilabel": options.multilabel,
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        by = given.column(options.by)
        found = evaluate(given.y, given.p, by=by, top_k=options.top_k, **how)
    comparison = None
    if options.compare:
        comparison = _compared(given, _Given(options.compare, options), how)
    failures = [reason for t in thresholds if (reason := t.fails(found))]
    _write(
        {
            path: _report(path, given, found, comparison, failures)
            for path in options.out
        }
    )
    print(found if comparison is None else f"{found}\n\n{comparison}")
    for warning in caught:
        print(f"keras_calib: {warning.message}", file=sys.stderr)
    for failure in failures:
        print(f"keras_calib: failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


class _Given:
    """Labels and predictions of a file, and other columns that the options name."""

    def __init__(self, path: str, options: argparse.Namespace) -> None:
        self.path, self._columns = path, Columns(path)
        self.classes: list[str] = []
        if self._of_files:
            self.p = self._columns.read(self._columns.names[0])
        else:
            pattern = options.probabilities or options.logits
            self.p, self.classes = self._columns.predictions(pattern)
        if options.multilabel and not self._of_files:
            self.y = self._columns.labels_of(options.label, self.classes)
            return
        self.y = self.column(options.label)
        if self.classes:
            self.y = self._columns.labels(options.label, self.classes)

    @property
    def _of_files(self) -> bool:
        """Whether each column is a file of its own."""
        return self.path.endswith(".npy")

    def column(self, name: str | None) -> Any:
        """Returns a column, `None` without a name."""
        if name is None:
            return None
        if self._of_files:
            other = Columns(name)
            return other.read(other.names[0])
        return self._columns.read(name)


def _compared(one: _Given, other: _Given, how: dict[str, Any]) -> Comparison:
    if len(one.y) != len(other.y) or (one.y != other.y).any():
        raise FileError(f"{other.path}: its labels are not those of {one.path}")
    names = [Path(given.path).stem for given in (one, other)]
    if names[0] == names[1]:
        names = [one.path, other.path]
    if names[0] == names[1]:
        raise FileError(f"{other.path}: it is compared with itself")
    return compare(one.y, dict(zip(names, (one.p, other.p), strict=True)), **how)


def _report(
    path: str,
    given: _Given,
    found: Evaluation,
    comparison: Comparison | None,
    failures: list[str],
) -> str:
    if path.endswith(".html"):
        title = Path(given.path).name
        return html_report(title, found, comparison, tuple(failures), given.classes)
    values = {"file": given.path, **found.to_dict(), "failures": failures}
    if comparison is not None:
        values["comparison"] = comparison.to_dict()
    return json.dumps(_finite(values), indent=1, allow_nan=False)


def _finite(x: Any) -> Any:
    """Replaces NaN and infinity, which JSON does not have, with null."""
    if isinstance(x, dict):
        return {key: _finite(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [_finite(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def _write(texts: dict[str, str]) -> None:
    """Writes all files, or none if one cannot be written."""
    parts = {path: Path(f"{path}.part") for path in texts}
    try:
        for path, part in parts.items():
            part.write_text(texts[path], encoding="utf-8")
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
