"""The ablation runs, and its tables follow from its recorded runs."""

import csv
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from examples import ablation
from examples.ablation import GAMMAS, NOISES, PLAIN, SCRATCH
from examples.noisy_digits import Run
from tests.backends import tensorflow_only
from tests.svg import shapes

PAGE = Path(__file__).parents[2] / "docs" / "experiments" / "ablation.md"
RUNS = sorted(path for path in PAGE.with_suffix("").iterdir() if path.is_dir())


@pytest.mark.slow
@tensorflow_only
def test_a_quick_run_writes_its_tables_and_pictures(tmp_path, capsys):
    ablation.main(["--quick", "--output", str(tmp_path)])
    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    assert {path.stem for path in tmp_path.glob("*.svg")} == {
        "measures",
        "calibration",
        "gradient_norms",
        "loss_curves",
        "reliability",
    }
    for path in tmp_path.glob("*.svg"):
        assert shapes(path) > 0
    with (tmp_path / "runs.csv").open(encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    assert len(runs) == len(GAMMAS) * len(NOISES)
    for run in runs:
        assert float(run["accuracy"]) > 0.3
        assert float(run["ece"]) >= abs(float(run["calibration_gap"])) - 1e-3
        # After so few epochs it is underconfident, which a temperature below 1 fixes.
        assert float(run["temperature"]) < 1
        assert float(run["ece after"]) < float(run["ece"])
        assert bool(run["wrong labels"]) == (float(run["noise"]) > 0)
    # The larger gamma is, the less wrong labels pull compared with right ones.
    ratio = {
        run["gamma"]: float(run["wrong labels"]) / float(run["right labels"])
        for run in runs
        if run["noise"] == "0.1"
    }
    assert ratio["0.5"] < ratio["0.1"] < ratio["0"]


def test_differences_are_taken_pair_by_pair():
    # Seeds differ a lot but every pair by 0.1, so the interval has no width.
    runs = {
        (SCRATCH, PLAIN, gamma, noise): [
            Run({**dict.fromkeys(ablation.COLUMNS, 0.0), "ece": base + more}, None, {})
            for base in (0.1, 0.5)
        ]
        for noise in NOISES
        for gamma, more in zip(GAMMAS, (0.0, 0.0, 0.1, 0.2, 0.0), strict=True)
    }
    _, _, row, *others = ablation.differences(runs).splitlines()
    assert row.split("|")[1].strip() == next(iter(ablation.CLAIMS))
    assert row.replace("\u00a0", " ").count("+0.100 ± 0.000") == len(NOISES)
    # Claims about runs that are missing are left out.
    assert not any("label smoothing" in other for other in others)


@tensorflow_only
def test_mixup_mixes_samples_and_labels_in_the_same_fractions():
    x = np.eye(4, dtype="float32")
    mixed, y = (np.asarray(part) for part in ablation.mixup(x, np.arange(4)))
    np.testing.assert_allclose(mixed, y[:, :4], rtol=1e-6)
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-6)
    assert (y > 0).sum() == 8


def tables(text):
    """Returns the Markdown tables of a text."""
    return [part.strip() for part in text.split("\n\n") if part.startswith("|")]


def runs_of(folder):
    """Returns the recorded runs."""
    runs = defaultdict(list)
    with (folder / "runs.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = row["start"], row["extra"], row["gamma"], float(row["noise"])
            scores = {name: float(row[name]) for name in ablation.COLUMNS if row[name]}
            runs[key].append(Run(scores, None, {}))
    return runs


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_the_tables_are_those_of_the_runs(folder):
    runs = runs_of(folder)
    text = (folder / "results.md").read_text(encoding="utf-8")
    expected = (
        f"{ablation.results(runs)}\n\ndifferences\n\n{ablation.differences(runs)}"
    )
    assert text == expected + "\n"


def test_the_page_shows_tables_of_the_runs_and_no_others():
    found = [tables((folder / "results.md").read_text("utf-8")) for folder in RUNS]
    shown = set(tables(PAGE.read_text("utf-8")))
    # The first is from scratch, the last has the differences.
    assert {table for of_run in found for table in (of_run[0], of_run[-1])} <= shown
    assert shown <= {table for of_run in found for table in of_run}


def heights(figure):
    """Returns the heights of the curves in each panel, by gamma; the top is 0."""
    curve = re.compile(r'<path d="([^"]+)" clip-path="[^"]+" style="[^"]+h: 1.5[;"]')
    panels = re.split(r'<g id="axes_\d+">', figure.read_text(encoding="utf-8"))[1:]
    return [
        {
            gamma: np.array([line.split()[2] for line in path.splitlines()], float)
            for gamma, path in zip(GAMMAS, curve.findall(panel), strict=True)
        }
        for panel in panels
    ]


def test_what_the_captions_say_of_the_curves_is_true():
    folder = PAGE.with_suffix("") / "fashion-mnist"
    runs = runs_of(folder)
    norm = {
        gamma: np.mean(
            [r.scores["wrong labels"] for r in runs[SCRATCH, PLAIN, gamma, 0.3]]
        )
        for gamma in GAMMAS
    }
    assert max(norm[gamma] for gamma in ("0.1", "0.5", "0 to 0.5")) < norm["0"] / 5
    assert 0.75 * norm["0"] < norm["0.01"] < norm["0"]
    train, test = heights(folder / "loss_curves.svg")
    for gamma in ("0.1", "0.5", "0 to 0.5"):
        assert train[gamma][-1] < train[gamma][0] < train["0"][0] + 1
    assert (test["0.5"] < test["0"]).all() and (test["0"] < test["0.1"]).all()
