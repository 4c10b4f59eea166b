"""The demo runs, and its noise and its table are right."""

import keras
import numpy as np
import pytest

from examples import noisy_digits
from tests.backends import tensorflow_only
from tests.svg import shapes


@tensorflow_only
def test_a_quick_run_prints_the_table_and_draws_the_pictures(tmp_path, capsys):
    noisy_digits.main(["--quick", "--output", str(tmp_path)])

    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in results.splitlines()
    ]
    titles = ["accuracy ↑", "NLL ↓", "Brier ↓", "ECE ↓", "gap → 0"]
    assert header == ["loss, one seed", *titles]
    assert [row[0] for row in rows] == list(noisy_digits.methods(0.2))
    accuracy, nll, brier, ece, gap = np.array([row[1:] for row in rows], float).T
    # Two epochs teach it something, and every loss is underconfident at first.
    assert (accuracy > 0.5).all() and (nll < np.log(10)).all() and (brier < 0.9).all()
    assert (ece >= np.abs(gap) - 1e-3).all() and (gap < 0).all()

    assert {path.name for path in tmp_path.iterdir()} == {
        "results.md",
        "reliability.svg",
        "loss_curves.svg",
        "gradient_norms.svg",
    }
    for path in tmp_path.glob("*.svg"):
        assert shapes(path) > 0


def test_noise_redraws_a_fraction_of_the_training_labels_only():
    split = noisy_digits.digits(seed=0)
    data = noisy_digits.noisy(split, noise=0.2, seed=0)
    assert data.x_train.shape == (1297, 64) and data.x_test.shape == (500, 64)
    assert 0 <= data.x_train.min() and data.x_train.max() == 1
    # By chance, one redrawn label in ten is right.
    assert data.is_wrong.mean() == pytest.approx(0.18, abs=0.03)
    np.testing.assert_array_equal(data.is_wrong, data.y_train != split[2])
    np.testing.assert_array_equal(data.y_test, split[3])
    assert not noisy_digits.noisy(split, noise=0.0, seed=0).is_wrong.any()


def test_the_matched_gamma_is_that_of_the_noise():
    makers = noisy_digits.methods(0.2)
    loss, callbacks = makers["GammaCE(0.0244), matched"]()
    assert float(loss.gamma) == pytest.approx(0.2 / 8.2, rel=1e-6)
    assert callbacks == []


def test_the_table_holds_mean_and_spread_over_seeds():
    scores = dict.fromkeys(noisy_digits.COLUMNS, 0.5)
    runs = {
        "a": [
            noisy_digits.Run({**scores, "accuracy": accuracy}, None, {})
            for accuracy in (0.8, 0.9)
        ]
    }
    *_, row = noisy_digits.table(runs).splitlines()
    row = row.replace("\u00a0", " ")
    assert row.startswith("| a    | 0.850 ± 0.071 | 0.500 ± 0.000 |")
    assert row.endswith("| +0.500 ± 0.000 |")


def test_fashion_mnist_says_where_to_get_it(monkeypatch, tmp_path):
    def no_network():
        raise OSError("no network")

    monkeypatch.setattr(noisy_digits, "FASHION_MNIST", tmp_path / "missing")
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", no_network)
    with pytest.raises(SystemExit, match="apt-get install dataset-fashion-mnist"):
        noisy_digits.fashion_mnist(seed=0)


def test_the_fraction_of_noise_must_be_below_1(capsys):
    with pytest.raises(SystemExit):
        noisy_digits.main(["--noise", "1"])
    assert "--noise must be" in capsys.readouterr().err
