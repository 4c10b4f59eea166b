"""Labels are confused as the matrix says, and each loss gets what is known of them."""

from pathlib import Path

import numpy as np
import pytest

from examples import asymmetric_noise
from examples.noisy_digits import digits
from keras_calib import gamma_matched_noise
from tests.backends import tensorflow_only

PAGE = Path(__file__).parents[2] / "docs" / "experiments"


def names(table):
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    return [row.strip("|").split("|")[0].strip() for row in rows]


def test_labels_are_confused_as_the_matrix_says():
    """Boots are labeled sneakers and never bags, and the other images are clean."""
    (x, y), (_, held_out), _ = asymmetric_noise.data(digits, 0, 0.4, (900, 300))
    _, (_, clean), _ = asymmetric_noise.data(digits, 0, 0.0, (900, 300))
    np.testing.assert_array_equal(held_out, clean)
    (_, right), *_ = asymmetric_noise.data(digits, 0, 0.0, (900, 300))
    found = np.zeros((10, 10))
    np.add.at(found, (right, y), 1)
    found /= found.sum(-1, keepdims=True)
    matrix = asymmetric_noise.transition(0.4)
    assert not found[matrix == 0].any()
    np.testing.assert_allclose(found, matrix, atol=0.15)
    assert len(x) == 900


def test_the_matched_gamma_knows_how_many_labels_are_wrong():
    losses = asymmetric_noise.methods(0.4, None)
    (loss, _) = losses["matched gamma"]
    # Of five classes in ten 40 % are wrong; a redrawn label may be right by chance.
    assert gamma_matched_noise(float(loss.gamma), 10) == pytest.approx(0.2 / 0.9)
    assert "estimated matrix" not in losses
    estimate = asymmetric_noise.methods(0.4, np.eye(10))["estimated matrix"][0]
    assert estimate.transition == np.eye(10).tolist()


@pytest.mark.slow
@tensorflow_only
def test_a_quick_run_prints_the_table(tmp_path, capsys, monkeypatch):
    every = asymmetric_noise.methods

    def two(*arguments):
        return dict(list(every(*arguments).items())[:2])

    monkeypatch.setattr(asymmetric_noise, "methods", two)
    asymmetric_noise.main(["--quick", "--output", str(tmp_path)])
    results = (tmp_path / "asymmetric.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    assert names(results)[-2:] == ["cross-entropy", "matrix"]


def test_the_page_shows_the_tables_of_the_run():
    page = (PAGE / "label_noise.md").read_text(encoding="utf-8")
    results = (PAGE / "label_noise" / "asymmetric.md").read_text(encoding="utf-8")
    for table in results.split("\n\n"):
        assert table.strip() in page
    every = list(asymmetric_noise.methods(0.2, np.eye(10)))
    shown = [name for name in names(results) if name != "loss" and "---" not in name]
    assert shown == 2 * every
