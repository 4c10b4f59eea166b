"""The intents are read right, and a quick run's tables are consistent."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from examples import text_intents
from tests.backends import tensorflow_only
from tests.data import real
from tests.svg import shapes

PAGE = Path(__file__).parents[2] / "docs" / "experiments"
NLL = "negative_log_likelihood"
CLASSES = ["balance", "card", "fee", "loan"]
COUNTS = [300, 200, 100, 50]


def texts(counts, seed):
    """Yields texts with filler words, of which nine in ten also name their intent."""
    random = np.random.default_rng(seed)
    for label, count in zip(CLASSES, counts, strict=True):
        for _ in range(count):
            named = label if random.random() < 0.9 else random.choice(CLASSES)
            other = random.choice(["please", "what", "is", "my", "now"], 4)
            yield " ".join([*other, named]), label


def write_banking77(folder):
    for part, counts in (("train", COUNTS), ("test", [50] * 4)):
        path = folder / f"banking77_{part}.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "category"])
            writer.writerows(texts(counts, seed=len(part)))
    (folder / "banking77_categories.json").write_text(json.dumps(CLASSES))


def write_clinc150(folder):
    parts = {
        "train": list(texts(COUNTS, seed=0)),
        "val": list(texts([30] * 4, seed=1)),
        "test": list(texts([50] * 4, seed=2)),
        "oos_test": [["now what is", "oos"]] * 20,
    }
    (folder / "data_imbalanced.json").write_text(json.dumps(parts))


def mean(cell):
    """Returns the number in a cell, without its interval."""
    return float(cell.split("\u00a0")[0])


def tables(results):
    """Returns each table as {loss: {title: figure}}."""
    found = []
    for block in results.split("\n\n"):
        if block.startswith("| loss"):
            titles, _, *rows = [
                [cell.strip() for cell in line.strip("|").split("|")]
                for line in block.strip().splitlines()
            ]
            found.append(
                {
                    row[0]: dict(zip(titles[1:], map(mean, row[1:]), strict=True))
                    for row in rows
                }
            )
    return found


@pytest.mark.slow
@tensorflow_only
def test_a_quick_run_prints_the_tables(tmp_path, capsys):
    write_clinc150(tmp_path)
    output = tmp_path / "output"
    arguments = ["--data", str(tmp_path), "--quick", "--epochs", "8"]
    text_intents.main([*arguments, "--output", str(output)])

    results = (output / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    before, after = tables(results)
    methods = text_intents.methods(np.ones(4))
    assert list(before) == list(after) == list(methods)
    for name, (_, one_vs_rest) in methods.items():
        row = before[name]
        assert row["accuracy ↑"] > 0.5, name
        assert row["ECE ↓"] >= abs(row["gap → 0"]) - 1e-3
        # The held-out texts are like the test texts, so their temperature does no harm.
        assert after[name]["NLL ↓"] < row["NLL ↓"] + 0.01
        if not one_vs_rest:
            assert row["in-scope AUROC ↑"] > 0.9
    # Focal loss makes the model less confident than cross-entropy does; T fixes it.
    assert before["FocalCE(2)"]["gap → 0"] < before["cross-entropy"]["gap → 0"]
    assert after["FocalCE(2)"]["T"] < after["cross-entropy"]["T"]
    assert shapes(output / "reliability.svg") > 0


def test_the_two_data_sets_are_read(tmp_path):
    for write, name in ((write_banking77, "BANKING77"), (write_clinc150, "CLINC150")):
        folder = tmp_path / name
        folder.mkdir()
        write(folder)
        data = text_intents.load(folder, seed=0)
        assert data.name == name
        named = [CLASSES[label] in text for text, label in zip(*data.test, strict=True)]
        assert np.mean(named) > 0.85  # each text has its own label
        share = data.counts / data.counts.sum()
        np.testing.assert_allclose(share, np.array(COUNTS) / 650, atol=0.002)
    assert len(data.out_of_scope) == 20


def test_the_error_names_a_folder_without_data(tmp_path):
    with pytest.raises(SystemExit, match=tmp_path.name):
        text_intents.load(tmp_path, seed=0)


def test_a_class_has_a_weight_in_inverse_proportion_to_its_count():
    make_loss, one_vs_rest = text_intents.methods(np.array([30, 10]))[
        "AlphaBalancedCE(1 / count)"
    ]
    assert make_loss().alpha == pytest.approx([2 / 3, 2]) and not one_vs_rest


def test_the_table_shows_the_interval():
    scores = {"a": [{"ece": 0.1}, {"ece": 0.2}, {"ece": 0.3}]}
    row = text_intents.table(scores, text_intents.BEFORE).splitlines()[-1]
    # t(0.975, 2) 0.1 / sqrt(3) = 4.302653 * 0.057735
    assert row.replace("\u00a0", " ") == "| a    | 0.200 ± 0.248 |"


@pytest.mark.slow
@tensorflow_only
@pytest.mark.parametrize(
    ("folder", "classes", "train", "test"),
    [("banking77", 77, 8502, 3080), ("clinc150", 150, 10525, 4500)],
)
def test_on_the_real_data(folder, classes, train, test):
    data = text_intents.load(real(folder), seed=0)
    assert len(data.counts) == classes
    assert (len(data.train[1]), len(data.test[1])) == (train, test)
    assert np.ptp(np.bincount(data.test[1])) == 0  # the same number of each class
    make_loss, one_vs_rest = text_intents.methods(data.counts)["cross-entropy"]
    # The temperature is fitted to the test texts, so it cannot make the NLL worse.
    data = replace(data, held_out=data.test)
    run = text_intents.train(data, make_loss, one_vs_rest, epochs=5, seed=0)
    assert run.before["accuracy"] > 0.75
    assert run.after[NLL] <= run.before[NLL]
    if data.out_of_scope:
        assert run.before["in_scope_auroc"] > 0.75


def test_the_page_shows_the_tables_of_a_run():
    page = (PAGE / "text_intents.md").read_text(encoding="utf-8")
    results = sorted((PAGE / "text_intents").glob("*.md"))
    assert results
    for path in results:
        assert path.read_text(encoding="utf-8") in page
        rows = tables(path.read_text(encoding="utf-8"))[0]
        assert list(rows) == list(text_intents.methods(np.ones(4)))
