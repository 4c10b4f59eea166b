"""The command: files in, figures out, an exit status for a release pipeline."""

import html
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import keras_calib
from keras_calib.command.evaluate import main
from tests.metrics.reference import data

duckdb = pytest.importorskip("duckdb")
pytest.importorskip("matplotlib").use("agg")

Y, P, W = data("classes", n=300)
REGION = np.array(["north", "south"])[np.arange(300) % 2]
CLASSES = ["cat", "dog", "eel", "fox", "gnu"]
COLUMNS = ["--label", "y", "--probabilities", "p_*"]


def write(path, **columns):
    """Writes columns to a parquet, csv or jsonl file."""
    connection = duckdb.connect()
    numbers = {name: np.asarray(column) for name, column in columns.items()}
    parts = []
    for name, column in numbers.items():
        texts = column.dtype.kind == "U"
        kind = {"i": "BIGINT", "f": "DOUBLE", "U": "VARCHAR"}[column.dtype.kind]
        kind = "FLOAT" if column.dtype == "float32" else kind
        values = ",".join(f"'{x}'" if texts else repr(x) for x in column.tolist())
        parts.append(f'unnest(CAST([{values}] AS {kind}[])) AS "{name}"')
    form = {".parquet": "PARQUET", ".csv": "CSV", ".jsonl": "JSON"}[path.suffix]
    connection.execute(f"COPY (SELECT {', '.join(parts)}) TO '{path}' (FORMAT {form})")
    return str(path)


def columns_of(p=P, prefix="p_", names=CLASSES):
    return {f"{prefix}{name}": column for name, column in zip(names, p.T, strict=True)}


@pytest.fixture(name="file")
def _file(tmp_path):
    path = tmp_path / "predictions.parquet"
    return write(path, **columns_of(), y=Y, w=W, region=REGION)


def test_the_text_is_that_of_the_evaluation(file, capsys):
    assert main(["evaluate", file, *COLUMNS]) == 0
    out = capsys.readouterr().out
    assert out == f"{keras_calib.evaluate(Y, P)}\n"


def test_weights_slices_and_json(file, tmp_path, capsys):
    out = tmp_path / "figures.json"
    how = ["--weight", "w", "--by", "region", "--num-bins", "7", "--out", str(out)]
    assert main(["evaluate", file, *COLUMNS, *how]) == 0
    expected = keras_calib.evaluate(Y, P, sample_weight=W, by=REGION, num_bins=7)
    found = json.loads(out.read_text())
    assert found["figures"] == dict(expected)
    assert found["slices"]["north"]["figures"] == dict(expected.slices["north"])
    assert str(expected.slices) in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["csv", "jsonl", "npz", "npy"])
def test_other_formats(kind, tmp_path):
    out, path = str(tmp_path / "figures.json"), tmp_path / f"file.{kind}"
    z = np.log(P.astype("float64"))
    arguments = ["--label", "y", "--logits", "z_*"]
    if kind == "npz":
        np.savez(path, y=Y, z_all=z)
    elif kind == "npy":
        np.save(path, z)
        np.save(tmp_path / "y.npy", Y)
        arguments[1] = str(tmp_path / "y.npy")
    else:
        write(path, y=Y, **columns_of(z, "z_"))
    assert main(["evaluate", str(path), *arguments, "--out", out]) == 0
    found = json.loads((tmp_path / "figures.json").read_text())["figures"]
    expected = keras_calib.evaluate(Y, z, from_logits=True)
    assert found == pytest.approx(dict(expected), abs=1e-12)


def test_names_of_classes_and_binary_files(tmp_path, capsys):
    names = np.array(CLASSES)[Y]
    file = write(tmp_path / "names.csv", y=names, **columns_of(P.astype("float64")))
    assert main(["evaluate", file, *COLUMNS]) == 0
    one = write(tmp_path / "one.parquet", y=Y % 2, p=P[:, 0])
    assert main(["evaluate", one, "--label", "y", "--probabilities", "p"]) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"{keras_calib.evaluate(Y % 2, P[:, 0])}\n")
    assert main(["evaluate", one, *COLUMNS[:3], "p", "--fast"]) == 0
    assert "negative_log_likelihood" not in capsys.readouterr().out


def test_independent_labels_and_the_k_most_probable(tmp_path, file, capsys):
    y = np.eye(5, dtype=int)[Y]
    p = np.clip(P.astype("float64") * 1.5, 0, 1)
    turned = columns_of(y[:, ::-1], "y_", CLASSES[::-1])
    labels = write(tmp_path / "labels.csv", **turned, **columns_of(p))
    how = ["--label", "y_*", "--probabilities", "p_*", "--multilabel"]
    assert main(["evaluate", labels, *how]) == 0
    found = keras_calib.evaluate(y, p, multilabel=True)
    assert capsys.readouterr().out == f"{found}\n"
    np.savez(tmp_path / "labels.npz", y_all=y, p_all=p)
    assert main(["evaluate", str(tmp_path / "labels.npz"), *how]) == 0
    assert capsys.readouterr().out == f"{found}\n"
    other = write(
        tmp_path / "other.csv", **columns_of(y, "y_", "abcde"), **columns_of(p)
    )
    assert main(["evaluate", other, *how]) == 2
    assert "'y_*' stands for a, b, c, d, e, and in" in capsys.readouterr().err
    assert main(["evaluate", file, *COLUMNS, "--top-k", "2"]) == 0
    assert capsys.readouterr().out == f"{keras_calib.evaluate(Y, P, top_k=2)}\n"


def test_thresholds_set_the_status(file, tmp_path, capsys):
    ece = keras_calib.evaluate(Y, P)["ece"]
    for condition, status in (
        (f"ece > {ece / 2}", 1),
        (f"ece>{2 * ece}", 0),
        ("accuracy < 2", 1),
        ("ece_low >= 0", 1),
        ("ece <= -1e-3", 0),
    ):
        assert main(["evaluate", file, *COLUMNS, "--fail-if", condition]) == status
        failed = f"failed: {condition.split()[0].partition('>')[0]} = "
        assert (failed in capsys.readouterr().err) == bool(status)
    out = tmp_path / "report.html"
    both = ["--fail-if", "ece > 9", "--fail-if", "ece < 9", "--out", str(out)]
    assert main(["evaluate", file, *COLUMNS, *both]) == 1
    assert f"ece = {ece:.6g} (&lt; 9)" in out.read_text()


def test_another_model(file, tmp_path, capsys):
    q = np.square(P)
    q /= q.sum(-1, keepdims=True)
    other = write(tmp_path / "sharper.parquet", **columns_of(q), y=Y)
    out = tmp_path / "report.html"
    given = [
        "--by",
        "region",
        "--compare",
        other,
        "--out",
        str(out),
        "--out",
        str(tmp_path / "c.json"),
    ]
    assert main(["evaluate", file, *COLUMNS, *given]) == 0
    text = capsys.readouterr().out
    expected = keras_calib.compare(Y, {"predictions": P, "sharper": q})
    assert text.endswith(f"{expected}\n")
    found = json.loads((tmp_path / "c.json").read_text())["comparison"]
    assert found["names"] == ["predictions", "sharper"]
    page = out.read_text()
    assert "Comparison" in page and page.count("<svg") == 2
    assert "<h2>Slices of predictions</h2>" in page
    wrong = write(tmp_path / "wrong.parquet", **columns_of(q), y=(Y + 1) % 5)
    assert main(["evaluate", file, *COLUMNS, "--compare", wrong]) == 2
    assert "its labels are not those of" in capsys.readouterr().err
    assert main(["evaluate", file, *COLUMNS, "--compare", file]) == 2


def test_the_page_needs_nothing_else(file, tmp_path):
    out = tmp_path / "<report> & more.html"
    assert main(["evaluate", file, *COLUMNS, "--by", "region", "--out", str(out)]) == 0
    page = out.read_text()
    assert page.startswith("<!doctype html>") and page.count("</html>") == 1
    for external in (
        'src="http',
        "src='http",
        "<link",
        "<script",
        "@import",
        "url(http",
    ):
        assert external not in page
    for part in ("predictions.parquet", "<svg", "north", "prefers-color-scheme: dark"):
        assert part in page
    headings = re.findall("<h2>(.*)</h2>", page)
    assert headings == ["Figures", "Slices", "Classes", "Bins"]
    assert page.count("<td>north</td>") == 1 and page.count("<td>eel</td>") == 1
    assert not list(tmp_path.glob("*.part"))


def test_names_are_escaped(tmp_path):
    evil = np.array(["<script>alert(1)</script>", "b"])[np.arange(300) % 2]
    file = write(tmp_path / "<i>.parquet", **columns_of(), y=Y, region=evil)
    out = tmp_path / "report.html"
    assert main(["evaluate", file, *COLUMNS, "--by", "region", "--out", str(out)]) == 0
    page = out.read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "<i>" not in page


def test_what_is_wrong_is_one_line_and_status_2(file, tmp_path, capsys):
    whole = open(file, "rb").read()
    truncated, empty = tmp_path / "truncated.parquet", tmp_path / "empty.csv"
    truncated.write_bytes(whole[: len(whole) // 2])
    empty.write_text("")
    texts = write(tmp_path / "texts.csv", y=Y, p_a=REGION, p_b=P[:, 0])
    holes = tmp_path / "holes.csv"
    holes.write_text("y,p_a,p_b\n0,0.5,0.5\n1,,0.5\n")
    mixed, kinds = tmp_path / "mixed.csv", tmp_path / "kinds.jsonl"
    mixed.write_text("y,p_a,p_b\n0,0.5,0.5\n1,half,0.5\n")
    kinds.write_text('{"y": 0, "p_a": 1, "p_b": 0}\n{"y": 1, "p_a": "x", "p_b": 1}\n')
    arrays, parts = str(tmp_path / "arrays.npz"), tmp_path / "parts.npz"
    np.savez(arrays, y=Y, p=P, names=REGION.astype(object))
    parts.write_bytes(open(arrays, "rb").read()[:-200])
    of_arrays = [arrays, "--label", "y", "--probabilities", "p"]
    none = tmp_path / "none.csv"
    none.write_text("y,p_a,p_b\n")
    unknown = tmp_path / "file.txt"
    unknown.write_text("y")
    names = write(tmp_path / "names.csv", y=REGION, **columns_of())
    out = tmp_path / "report.html"
    for given, message in (
        ([str(tmp_path / "none.parquet"), *COLUMNS], "there is no such file"),
        ([str(truncated), *COLUMNS], "truncated.parquet: "),
        ([str(empty), *COLUMNS], "empty.csv: "),
        ([str(unknown), *COLUMNS], "the file must be one of"),
        ([texts, *COLUMNS], "column 'p_a' holds no numbers"),
        ([str(holes), *COLUMNS], "column 'p_a' is empty in 1 row"),
        ([str(mixed), *COLUMNS], "column 'p_a' holds no numbers"),
        ([str(kinds), *COLUMNS], "column 'p_a' holds no numbers"),
        ([str(none), *COLUMNS], "none.csv: "),
        ([str(parts), *of_arrays[1:]], "parts.npz: File is not a zip file"),
        ([*of_arrays, "--by", "names"], "arrays.npz: Object arrays cannot be loaded"),
        ([names, *COLUMNS], "which is not one of the classes 'cat'"),
        ([file, "--label", "no", "--probabilities", "p_*"], "no column is named 'no'"),
        ([file, "--label", "y", "--probabilities", "q_*"], "no column is named 'q_*'"),
        ([file, "--label", "y", "--logits", "p_*"], "y_pred holds probabilities"),
        ([file, "--label", "y"], "either --probabilities or --logits"),
        ([file, *COLUMNS, "--by", "no"], "no column is named 'no'"),
        ([file, *COLUMNS, "--fail-if", "ece"], "a threshold must be a figure"),
        ([file, *COLUMNS, "--fail-if", "ece > x"], "a threshold must be a figure"),
        ([file, *COLUMNS, "--fail-if", "eec > 1"], "there is no figure 'eec': acc"),
        ([file, *COLUMNS, "--num-bins", "0"], "`num_bins` must be a whole number"),
        ([file, *COLUMNS, "--out", "report.pdf"], "--out must end in .html or .json"),
        ([file, *COLUMNS, "--out", "no/x.html"], "--out must be a file in a folder"),
    ):
        assert main(["evaluate", *given, "--out", str(out)]) == 2, given
        captured = capsys.readouterr()
        assert message in captured.err, captured.err
        assert captured.err.startswith("keras_calib: ")
        assert captured.err.count("\n") == 1 and captured.out == ""
        assert not out.exists()
    assert main(["evaluate", *of_arrays]) == 0  # what is not asked for is not read


def test_all_reports_are_written_or_none(file, tmp_path, monkeypatch, capsys):
    one = write(tmp_path / "one.csv", **columns_of(P[:1].astype(float)), y=Y[:1])
    other = write(tmp_path / "other.csv", **columns_of(P[1:2].astype(float)), y=Y[:1])
    out, page = tmp_path / "figures.json", tmp_path / "report.html"
    given = [*COLUMNS, "--out", str(page), "--out", str(out)]
    assert main(["evaluate", one, *given, "--compare", other]) == 0
    rows = json.loads(out.read_text())["comparison"]["differences"]
    assert rows["ece"]["low"] is None  # of one sample it is -infinity
    out.unlink(), page.unlink()
    before = set(tmp_path.iterdir())
    write_text = type(out).write_text

    def full(path, *text, **how):
        if "figures" in path.name:
            raise OSError("no space left on device")
        write_text(path, *text, **how)

    monkeypatch.setattr(type(out), "write_text", full)
    assert main(["evaluate", file, *given]) == 2
    assert "no space left" in capsys.readouterr().err
    assert set(tmp_path.iterdir()) == before


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
# Frames are as narrow as a telephone, and a window is not.
PROBE = """<!doctype html><body>
{frames}
<script>onload = () => document.title = [...document.querySelectorAll("iframe")].map(
  frame => {{
    const page = frame.contentDocument, width = frame.clientWidth
    const boxes = [...page.querySelectorAll("body *")].filter(
      e => !e.closest(".wide *, figure *")).map(e => e.getBoundingClientRect())
    return [
      page.documentElement.scrollWidth <= width,
      boxes.every(box => box.left >= 0 && box.right <= width + .5),
      Math.round(page.querySelector("svg").getBoundingClientRect().width) >= 380,
      frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    ].join()
  }}).join(" ")</script>"""


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize(("scheme", "color"), [(1, "255, 255, 255"), (0, "22, 22, 22")])
def test_a_browser_shows_it_wide_and_narrow(scheme, color, file, tmp_path):
    """Nothing overflows, in a dark browser and in a light one."""
    out, probe = tmp_path / f"{'report' * 9}.html", tmp_path / "probe.html"
    failed = ["--fail-if", "ece > 0", "--fail-if", "negative_log_likelihood > 0"]
    how = ["--by", "region", "--out", str(out), *failed]
    assert main(["evaluate", file, *COLUMNS, *how]) == 1
    page = html.escape(out.read_text())
    frames = [
        f'<iframe style="width: {width}px; border: 0" srcdoc="{page}"></iframe>'
        for width in (320, 1300)
    ]
    probe.write_text(PROBE.format(frames="\n".join(frames)))
    done = subprocess.run(
        [
            BROWSER,
            *("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            "--window-size=1400,900",
            f"--blink-settings=preferredColorScheme={scheme}",
            probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    each = f"true,true,true,rgb({color})"
    assert f"<title>{each} {each}</title>" in done.stdout, done.stderr


@pytest.mark.slow
def test_it_runs_as_a_module(file):
    done = subprocess.run(
        [sys.executable, "-m", "keras_calib", "evaluate", file, *COLUMNS],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{keras_calib.evaluate(Y, P)}\n"
