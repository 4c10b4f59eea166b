"""A model of KerasHub is fine-tuned, and the guide shows the table of a run."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from examples import fine_tune_lm

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "fine_tuning.md"
NAMES = ["before", *fine_tune_lm.losses(10)]
needs_keras_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="KerasHub is not installed"
)


@pytest.fixture
def text(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "text.txt"
    path.write_text(" ".join(f"w{i}" for i in rng.geometric(0.2, 1000)))
    return path


def names(table):
    return [row.split("|")[1].strip() for row in table.splitlines()[4:]]


@needs_keras_hub
def test_a_small_run_prints_the_table(text, tmp_path, capsys, monkeypatch):
    some = ["gamma 0 (SFT)", "gamma 0 to 1"]
    losses = fine_tune_lm.losses
    monkeypatch.setattr(
        fine_tune_lm, "losses", lambda n: {name: losses(n)[name] for name in some}
    )
    arguments = ["--old", str(text), "--new", str(text), "--output", str(tmp_path)]
    small = ["--words", "12", "--width", "8", "--epochs-before", "1"]
    fine_tune_lm.main([*arguments, *small])
    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    assert "1 epoch of 864 tokens of text.txt after 1 epoch of 864 tokens" in results
    assert names(results) == ["before", *some]
    scores = np.array(
        [[float(x) for x in row.split("|")[2:-1]] for row in results.splitlines()[4:]]
    )
    np.testing.assert_array_equal(scores[:, :3], scores[:, 3:])  # of one text
    assert np.all(np.abs(scores[:, 0] - np.log(12)) < 1.0)


def test_labels_are_the_next_words(text):
    words = fine_tune_lm.words(text)
    ids = fine_tune_lm.vocabulary([words], 12)
    assert sorted(ids.values()) == list(range(1, 12))
    (x, y), (last, _) = fine_tune_lm.split([ids.get(word, 0) for word in words])
    np.testing.assert_array_equal(x["token_ids"].ravel()[1:], y.ravel()[:-1])
    assert x["token_ids"].shape == x["padding_mask"].shape == y.shape
    assert len(last["token_ids"]) == 100 // fine_tune_lm.CONTEXT


def test_gamma_1_is_dynamic_fine_tuning():
    logits = np.log([[0.2, 0.5, 0.3]])
    for name, expected in (("gamma 0 (SFT)", 1.0), ("gamma 1 (DFT)", 0.3)):
        loss = fine_tune_lm.losses(10)[name]
        assert float(loss([2], logits)) == pytest.approx(-expected * np.log(0.3))


def test_the_guide_shows_the_table_of_a_run():
    run = GUIDE.parents[1] / "experiments" / "fine_tune_lm" / "results.md"
    results = run.read_text(encoding="utf-8")
    assert results in GUIDE.read_text(encoding="utf-8")
    assert names(results) == NAMES


def test_what_the_guide_says_of_the_floor_is_true():
    run = GUIDE.parents[1] / "experiments" / "fine_tune_lm" / "results.md"
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in run.read_text(encoding="utf-8").splitlines()[4:]
    ]
    scores = {name: np.array(cells, float) for name, *cells in rows}
    sft, floor = scores["gamma 0 (SFT)"], scores["gamma 1, floor 0.2"]
    assert abs(floor[0] - sft[0]) < 0.002 and abs(floor[3] - sft[3]) < 0.02
    guide = " ".join(GUIDE.read_text(encoding="utf-8").split())
    assert f"is larger: {floor[5]} instead of {sft[5]}." in guide
