"""The language model reads text, and a gamma far above 1/V makes it overconfident."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from examples import language_model
from tests.backends import tensorflow_only
from tests.data import real
from tests.svg import shapes

SUBSET = ["cross-entropy", "GammaCE(0.1)", "GammaCE, 1e-7 to 0.1"]


@pytest.fixture
def corpus(tmp_path):
    """Returns a file of 40 words, each followed by one of two, and some rare words."""
    random = np.random.default_rng(0)
    word, words = 0, []
    for _ in range(12000):
        word = (3 * word + 1 + int(random.integers(2))) % 40
        rare = random.random() < 0.02
        words.append(f"Rare{random.integers(10**6)}" if rare else f"word{word}")
    path = tmp_path / "corpus.txt"
    path.write_text(" ".join(words), encoding="utf-8")
    return path


@pytest.mark.slow
@tensorflow_only
def test_a_quick_run_prints_the_table(corpus, tmp_path, monkeypatch, capsys):
    methods = language_model.methods
    monkeypatch.setattr(
        language_model,
        "methods",
        lambda v: {name: make for name, make in methods(v).items() if name in SUBSET},
    )
    output = tmp_path / "output"
    arguments = ["--quick", "--data", str(corpus), "--words", "41"]
    language_model.main([*arguments, "--epochs", "6", "--output", str(output)])

    results = (output / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    assert results.startswith("corpus.txt: V = 41, ")
    rows = {
        name.strip(): [float(cell) for cell in cells]
        for name, *cells in (
            line.strip("|").split("|") for line in results.splitlines()[4:]
        )
    }
    assert list(rows) == SUBSET
    for _, accuracy, perplexity, nll, ece, gap, _, perplexity_after, _ in rows.values():
        assert 1 / 41 < accuracy < 0.6
        assert perplexity == pytest.approx(math.exp(nll), rel=0.02)
        assert ece >= abs(gap) - 1e-3
        # The held-out text is like the test text, so its temperature does no harm.
        assert perplexity_after < 1.02 * perplexity
    # The weight of a token before training: 1, and 1 / (1 + 40 gamma).
    assert [rows[name][0] for name in SUBSET] == [1.0, 0.2, 1.0]
    # A gamma far above 1/V is more confident, and needs a larger temperature.
    assert rows["GammaCE(0.1)"][5] > rows["cross-entropy"][5]
    assert rows["GammaCE(0.1)"][6] > rows["cross-entropy"][6]
    assert shapes(output / "loss_curves.svg") > 0


def test_labels_are_the_next_words_and_rare_words_are_unknown(corpus):
    text = language_model.load(corpus, 41)
    assert text.num_words == 41
    for words, labels in (text.train, text.held_out, text.test):
        assert words.shape == labels.shape and words.shape[1] == language_model.CONTEXT
        np.testing.assert_array_equal(words.ravel()[1:], labels.ravel()[:-1])
        unknown = np.mean(labels == language_model.UNKNOWN)
        assert unknown == pytest.approx(0.02, abs=0.012)
    assert len(text.train[0]) == pytest.approx(8 * len(text.test[0]), rel=0.05)


def test_the_vocabulary_is_that_of_the_training_text(tmp_path):
    for name in ("a", "b"):
        path = tmp_path / f"{name}.txt"
        path.write_text(f"{name} <unk> " * 400 + "later " * 100, encoding="utf-8")
    text = language_model.load(tmp_path, 10)  # a folder: splits each file
    assert text.num_words == 3  # "a", "b", and one for "<unk>" and "later"
    assert set(np.unique(text.train[0])) == {0, 1, 2}
    assert not text.test[0].any()


def test_the_error_names_a_path_without_text(tmp_path):
    with pytest.raises(SystemExit, match=tmp_path.name):
        language_model.load(tmp_path, 10)


@pytest.mark.slow
@tensorflow_only
def test_on_the_real_text():
    text = language_model.load(real("language/tinyshakespeare.txt"), 1000)
    assert text.num_words == 1000
    assert 0.7 < np.mean(text.test[1] != language_model.UNKNOWN) < 0.95
    # The temperature is fitted to the test text, so it cannot make the NLL worse.
    text = replace(
        text, train=tuple(part[:1280] for part in text.train), held_out=text.test
    )
    loss, callbacks = language_model.methods(1000)["cross-entropy"]()
    scores = language_model.train(text, loss, callbacks, epochs=2, seed=0)
    assert scores["perplexity"] < 500  # a uniform guess would have 1000
    assert scores["nll_after"] <= scores["nll"] + 1e-5
    assert scores["ece"] >= abs(scores["gap"]) - 1e-6


def test_the_page_shows_the_table_of_a_run():
    page = Path(__file__).parents[2] / "docs" / "experiments" / "language_model.md"
    results = page.with_suffix("") / "results.md"
    found = results.read_text(encoding="utf-8")
    assert found in page.read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in found.splitlines()[4:]]
    assert rows == list(language_model.methods(1000))
