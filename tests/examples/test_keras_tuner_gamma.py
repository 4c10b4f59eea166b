"""KerasTuner chooses gamma by a metric that does not depend on gamma."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras_tuner", reason="KerasTuner is not installed")

from examples import keras_tuner_gamma
from keras_calib import GammaCE, NegativeLogLikelihood
from tests.backends import tensorflow_only


def tables(text):
    """Returns the cells of each table, without its header."""
    return [
        [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in block.splitlines()[2:]
        ]
        for block in text.strip().split("\n\n")
    ]


@pytest.mark.slow
@tensorflow_only
def test_a_quick_run_prints_the_trials_and_the_choice(tmp_path, capsys):
    keras_tuner_gamma.main(["--quick", "--output", str(tmp_path)])
    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    trials, chosen = tables(results)
    gamma, loss, nll, accuracy = np.array(trials, float).T
    assert len(trials) == 4 and (np.diff(gamma) > 0).all()
    assert keras_tuner_gamma.LEAST <= gamma[0] and gamma[-1] <= 1
    assert (accuracy > 0.5).all()
    # Gamma-cross-entropy is at most cross-entropy, and less the larger gamma is.
    assert (loss <= nll + 1e-3).all()
    assert (nll - loss)[-1] > (nll - loss)[0]
    assert [row[0] for row in chosen] == ["val_nll", "val_loss"]
    assert float(chosen[0][1]) == gamma[nll.argmin()]
    assert float(chosen[1][1]) == gamma[loss.argmin()]


def test_the_loss_of_the_same_predictions_falls_as_gamma_rises():
    """So `val_loss` would choose the largest gamma, even if nothing is learned."""
    y, z = [0, 1, 1], np.array([[2.0, 0.0], [0.5, 0.0], [-1.0, 3.0]], "float32")
    gammas = [0.0, 0.01, 0.1, 0.5, 1.0]
    losses = [float(GammaCE(gamma, from_logits=True)(y, z)) for gamma in gammas]
    assert (np.diff(losses) < 0).all()
    nll = NegativeLogLikelihood(from_logits=True)
    nll.update_state(y, z)
    assert float(nll.result()) == pytest.approx(losses[0], rel=1e-6)


def test_the_page_shows_the_tables_of_a_run():
    page = Path(__file__).parents[2] / "docs" / "experiments" / "keras_tuner.md"
    results = (page.with_suffix("") / "results.md").read_text(encoding="utf-8")
    assert results in page.read_text(encoding="utf-8")
    trials, chosen = tables(results)
    assert len(trials) == 12
    page = " ".join(page.read_text(encoding="utf-8").split())
    (_, nll, accuracy, ece), (_, other_nll, other_accuracy, other_ece) = (
        map(float, row[1:]) for row in chosen
    )
    assert f"It cost {other_nll - nll:.3f} of NLL, and six of 500 test images" in page
    assert round(500 * (accuracy - other_accuracy)) == 6
    assert other_ece < ece
    gammas = [float(row[0]) for row in trials]
    assert [gamma for gamma in gammas if 0.0739 < gamma < 0.7381] == [0.2399]
