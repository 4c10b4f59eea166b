"""The code of the README runs, and its figures were measured."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from keras import ops

import keras_calib
from examples import noisy_digits

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPERIMENT = (ROOT / "docs/experiments/noisy_digits.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
ROOMS = (
    keras_calib,
    keras_calib.callbacks,
    keras_calib.losses,
    keras_calib.metrics,
)
# Rows such as | ... | `GammaCE(0.1)` | 0.744 | ... |
MINIMA = re.findall(r"\| `(\w+\(.*?\))` +\| ([\d.]+) +\|", README)


def test_the_code_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in BLOCKS:
        exec(block, namespace)
    assert (tmp_path / "reliability.png").stat().st_size > 0
    assert (tmp_path / "models" / "digits" / "1" / "saved_model.pb").exists()
    shown = re.findall(r"^  (\w+) +([-+]?0\.\d{4})  ", README, re.MULTILINE)
    assert len(shown) == 5
    for name, figure in shown:
        assert namespace["found"][name] == pytest.approx(float(figure), abs=2e-3)


def test_nothing_is_measured_on_training_data():
    """What follows `fit` in the code reads other samples."""
    text = "\n".join(BLOCKS)
    for call in ("evaluate(", "calibrate(", "validation_data=("):
        for given in text.split(call)[1:]:
            assert re.match(r"(model, )?[xy]\[(test|hold)\]", given), given[:40]


def test_ratios_of_time_are_those_of_the_benchmarks():
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    first = results.split("```")[1]
    measured = re.search(r"## Speed\n.*?\n\n## ", README, re.DOTALL)[0]
    shown = re.findall(r"\b\d\.\d\d\b", measured.partition("| --- |")[2])
    keys = [
        f"{row}{mode}"
        for row in (
            "GammaCE(0.1) (1024, 1000) ",
            "train step of a small CNN, GammaCE + ECE + Brier, ",
            "train step of a small MLP, GammaCE + ECE + Brier, ",
        )
        for mode in ("graph", "XLA")
    ]
    keys.append("temperature fit, 50000 x 1000, against scikit-learn")
    assert "| | graph | XLA |" in measured
    assert shown == [
        re.search(rf"^{re.escape(key)} +([\d.]+)", first, re.MULTILINE)[1]
        for key in keys
    ]


@pytest.mark.skipif(os.name == "nt", reason="the command is for a POSIX shell")
@pytest.mark.parametrize("name", ["README.md", "docs/notebooks/serve.ipynb"])
def test_the_request_for_a_server_is_an_image_of_digits(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith("ipynb"):
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    data = re.search(r"^curl -d (.+) \\$", text, re.MULTILINE)[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed = subprocess.run(
        ["sh", "-c", f"printf %s {data}"],
        env={**os.environ, "PATH": path},
        check=True,
        capture_output=True,
    )
    assert np.shape(json.loads(printed.stdout)["instances"]) == (1, 64)


def test_the_table_of_libraries_is_that_of_the_page():
    page = (ROOT / "docs" / "not_here.md").read_text(encoding="utf-8")
    table = re.search(
        r"^\| \| keras_calib .+?(?=\n\n)", page, re.DOTALL | re.MULTILINE
    )[0]
    assert table in README


@pytest.mark.parametrize(
    ("name", "pages"),
    [("digits", (EXPERIMENT, README)), ("fashion-mnist", (EXPERIMENT,))],
    ids=["digits", "fashion-mnist"],
)
def test_the_tables_are_those_of_a_run(name, pages):
    results = (ROOT / "docs" / "demo" / f"{name}.md").read_text(encoding="utf-8")
    assert all(results in page for page in pages)
    rows = [line.split("|")[1].strip() for line in results.splitlines()[2:]]
    assert rows == list(noisy_digits.methods(0.2))


def test_the_guide_on_noisy_labels_quotes_the_table():
    guide = (ROOT / "docs/guides/label_noise.md").read_text(encoding="utf-8")
    text = " ".join(guide.partition("## Other losses")[2].split())
    rows = (ROOT / "docs/demo/digits.md").read_text(encoding="utf-8").splitlines()
    cells = [row.split("|") for row in rows[2:]]
    accuracy = {cell[1].strip(): cell[2].split()[0] for cell in cells}
    quoted = re.findall(r"0\.\d{3}", text)
    names = ("cross-entropy", "LabelSmoothingCE(0.1)", "GammaCE(0.1)")
    assert quoted == [accuracy[name] for name in names]
    assert accuracy["FocalCE(2)"] == accuracy["cross-entropy"]


@pytest.mark.parametrize(("loss", "minimum"), MINIMA)
def test_the_minimum_of_each_loss_is_where_the_table_says(loss, minimum):
    loss = eval(loss, vars(keras_calib))
    config = {"from_logits": True, "reduction": None, "dtype": "float64"}
    loss = type(loss).from_config({**loss.get_config(), **config})
    # Two classes, the first with probability 0.7.
    log_odds = np.linspace(-20.0, 20.0, 80001)
    logits = ops.convert_to_tensor(np.stack([log_odds, 0 * log_odds], -1))
    zeros = np.zeros(len(log_odds), int)
    risk = 0.7 * loss(zeros, logits) + 0.3 * loss(zeros + 1, logits)
    best = log_odds[int(ops.argmin(risk))]
    assert 1 / (1 + np.exp(-best)) == pytest.approx(float(minimum), abs=6e-4)


def test_files_and_names_in_the_text_exist():
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"`([A-Z]\w+)[`(]", README):
        assert any(hasattr(room, name) for room in ROOMS), name


def test_the_table_of_losses_is_found():
    assert len(MINIMA) == 8
