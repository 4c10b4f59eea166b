"""Students learn what an oracle draws, and a run that stopped goes on."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from nltk.translate.bleu_score import corpus_bleu

from examples import oracle_captions
from examples.oracle_captions import END
from tests.backends import tensorflow_only

# The batches are those of `tf.data`, which is why the script needs TensorFlow.
pytestmark = tensorflow_only
PAGE = Path(__file__).parents[2] / "docs" / "experiments" / "oracle_captions.md"


def biased(*logits):
    """Returns a model that gives each word these logits, whatever comes before it."""
    model = oracle_captions.language_model(len(logits))
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([0 * kernel, bias + logits])
    return model


def test_captions_with_rare_words_and_long_ones_are_left_out(tmp_path):
    path = tmp_path / "captions.txt"
    text = "12 A cat.\n12 A cat\n3 A cat, 2 dogs.\n" + "a " * 40 + "\n\n"
    path.write_text(text, encoding="utf-8")
    long, short = oracle_captions.captions(path, 3)
    assert long[:2] == short
    assert len(set(long)) == 3
    assert set(long) <= {END + 1, END + 2, END + 3}


def test_a_batch_has_the_words_before_each_word():
    sentences = [[3, 4], [5] * 11, [6], [7, 8, 9]]
    pairs = [
        (x, y)
        for before, after in oracle_captions.batches(sentences, seed=0)
        for x, y in zip(before.numpy().tolist(), after.numpy().tolist(), strict=True)
    ]
    found = [[word for word in y if word] for _, y in pairs]
    assert sorted(found) == sorted([*words, END] for words in sentences)
    for x, y in pairs:
        length = y.index(END) + 1
        assert x[:length] == [END, *y[: length - 1]]


def test_a_model_draws_its_own_probabilities():
    p = np.array([1e-9, 0.2, 0.1, 0.3, 0.4])
    sentences = oracle_captions.drawn(biased(*np.log(p)), 3000, seed=0)
    assert len(sentences) == 3000
    lengths = np.array([len(words) for words in sentences])
    # The number of words before an END of probability .2; 31 words have no END.
    assert np.mean(lengths == 0) == pytest.approx(0.2, abs=0.03)
    assert np.mean(lengths) == pytest.approx(4, abs=0.3)
    words = np.concatenate(sentences).astype(int)
    frequencies = np.bincount(words, minlength=5) / len(words)
    np.testing.assert_allclose(frequencies, [0, 0, 0.125, 0.375, 0.5], atol=0.02)
    assert oracle_captions.drawn(biased(*np.log(p)), 3000, seed=0) == sentences


def test_perplexity_is_that_of_all_words():
    p = np.array([0.1, 0.2, 0.1, 0.2, 0.4])
    sentences = [[3], [4, 4, 2], [3] * 20]
    words = [*sentences[0], *sentences[1], *sentences[2], END, END, END]
    expected = math.exp(-np.mean(np.log(p)[words]))
    found = oracle_captions.perplexity(biased(*np.log(p)), sentences)
    assert found == pytest.approx(expected, rel=1e-5)


def test_bleu():
    same, other = list(range(3, 9)), list(range(13, 19))
    assert oracle_captions.bleu([same], [[other, same]]) == pytest.approx(1)
    assert oracle_captions.bleu([same], [[other]]) < 0.1
    half = [*same[:5], 20, 21]
    expected = corpus_bleu([[same]], [half])
    assert oracle_captions.bleu([half], [[same]]) == pytest.approx(expected)


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    few = [oracle_captions.ORACLE, "cross-entropy", "1e-05, floor 0"]
    methods = {name: oracle_captions.METHODS[name] for name in few}
    monkeypatch.setattr(oracle_captions, "METHODS", methods)
    rng = np.random.default_rng(0)
    lines = [" ".join(f"w{i}" for i in rng.integers(9, size=6)) for _ in range(200)]
    data, output = tmp_path / "captions.txt", tmp_path / "output"
    data.write_text("\n".join(lines), encoding="utf-8")
    arguments = ["--data", str(data), "--quick", "--output", str(output)]
    oracle_captions.main(arguments)
    results = (output / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    kept = output / "runs.json"
    runs = json.loads(kept.read_text(encoding="utf-8"))
    assert list(runs) == few
    for (run,) in runs.values():
        assert run["test perplexity"] > 1
        assert 0 <= run["BLEU-4"] <= 1

    part = {**runs, few[2]: []}
    kept.write_text(json.dumps(part), encoding="utf-8")
    oracle_captions.main(arguments)
    assert json.loads(kept.read_text(encoding="utf-8")) == runs
    assert (output / "results.md").read_text(encoding="utf-8") == results


def test_the_page_shows_the_tables_of_the_run():
    runs = json.loads((PAGE.with_suffix("") / "runs.json").read_text(encoding="utf-8"))
    page, tables = PAGE.read_text(encoding="utf-8"), oracle_captions.tables(runs)
    assert tables in page
    results = PAGE.with_suffix("") / "results.md"
    assert tables in results.read_text(encoding="utf-8")


def test_what_the_page_says_of_the_tables_is_true():
    runs = json.loads((PAGE.with_suffix("") / "runs.json").read_text(encoding="utf-8"))
    mean = {
        name: {key: np.mean([run[key] for run in seeds]) for key in seeds[0]}
        for name, seeds in runs.items()
    }
    base, small = mean["cross-entropy"], mean["1e-07, floor 0"]
    for key in ("oracle perplexity", "test perplexity", "BLEU-4", "self-BLEU-4"):
        assert small[key] == pytest.approx(base[key], rel=0.01)
        assert small[key] == pytest.approx(mean["1e-07, floor 0.2"][key], abs=5e-5)
    figures = {
        "cross-entropy": (26, 26, 0.24, 0.25),
        "0.001, floor 0": (14, 44, 0.32, 0.38),
        "0.001, floor 0.2": (17, 29, 0.30, 0.34),
        "0.1, floor 0.2": (14, 31, 0.39, 0.46),
    }
    for name, stated in figures.items():
        *perplexities, bleu, own = list(mean[name].values())[:4]
        found = [*np.round(perplexities), round(bleu, 2), round(own, 2)]
        assert tuple(found) == stated
    assert round(mean["the oracle itself"]["oracle perplexity"]) == 24
    for key in ("BLEU-4", "self-BLEU-4"):
        assert max(mean, key=lambda name: mean[name][key]) == "0.1, floor 0.2"
    assert mean["0.1, floor 0"]["epoch"] == 1
