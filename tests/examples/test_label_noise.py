"""The matched gamma recovers the clean probabilities; real labels are read right."""

import json
from pathlib import Path

import numpy as np
import pytest

from examples import label_noise
from tests.backends import tensorflow_only
from tests.svg import shapes

PAGE = Path(__file__).parents[2] / "docs" / "experiments"


@pytest.mark.slow
@tensorflow_only
def test_the_matched_gamma_comes_nearest_to_the_truth(tmp_path, capsys):
    label_noise.main(["--quick", "--output", str(tmp_path)])
    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    rows = [line.strip("|").split("|") for line in results.splitlines()[2:]]
    found = {name.strip(): float(figure) for name, figure in rows}
    matched = found["gamma 0.1818, matched"]
    assert matched < 0.05
    for name in ("cross-entropy", "gamma 0.01", "gamma 0.5", "gamma 0.7"):
        assert matched < found[name] / 2
    assert shapes(tmp_path / "label_noise.svg") > 0


def test_gamma_ce_is_forward_corrected_cross_entropy():
    assert label_noise.identity_error(np.random.default_rng(0)) < 1e-13


def test_noise_redraws_a_fraction_of_the_labels():
    x, _, y = label_noise.sample(np.random.default_rng(0), 50000, 1.0)
    assert x.shape == (50000, 2)
    np.testing.assert_allclose(np.bincount(y) / 50000, 1 / 3, atol=0.01)
    _, truth, y = label_noise.sample(np.random.default_rng(0), 50000, 0.0)
    # Without noise, the mean probabilities predict how frequent the labels are.
    np.testing.assert_allclose(np.bincount(y) / 50000, truth.mean(0), atol=0.01)


def test_a_majority_of_five_people_corrects_a_label(tmp_path):
    np.savez(tmp_path / "few_test_set.npz", probs=np.eye(3), label=np.array([0, 2, 1]))
    votes = [(1, 1, 3), (2, 2, 2)]  # image, label guessed, votes for it
    people = [
        {"id": i, "our_guessed_label": label, "mturk": {"given": 0, "guessed": n}}
        for i, label, n in votes
    ]
    (tmp_path / "few_mturk.json").write_text(json.dumps(people), encoding="utf-8")
    logits, given, better = label_noise.real(tmp_path, "few")
    assert np.isfinite(logits).all()
    assert given.tolist() == [0, 2, 1] and better.tolist() == [0, 1, 1]


def test_the_page_shows_the_tables_of_the_run():
    page = (PAGE / "label_noise.md").read_text(encoding="utf-8")
    for name in ("results", "real"):
        table = (PAGE / "label_noise" / f"{name}.md").read_text(encoding="utf-8")
        assert table in page
