"""KL covers the mixture, TVD fits one mode, and gamma narrows the fit."""

from pathlib import Path

import numpy as np
import pytest

from examples import mixture_toy
from tests.backends import tensorflow_only
from tests.svg import shapes

pytestmark = tensorflow_only


def test_a_quick_run_prints_writes_and_draws(tmp_path, capsys):
    mixture_toy.main(["--quick", "--output", str(tmp_path)])
    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in results.splitlines()[2:]
    ]
    found = {name: np.array(figures, float) for name, *figures in rows}
    assert list(found) == list(mixture_toy.DRAWN)
    # The Gaussian of least KL has the moments of the mixture.
    mean, variance = 0.7 * -2 + 0.3 * 3, 0.6**2 + 0.7 * 0.3 * 5**2
    np.testing.assert_allclose(
        found["KL (gamma 0)"][:2], [mean, np.sqrt(variance)], atol=2e-3
    )
    # Each objective is best by its own measure.
    table = np.array(list(found.values()))
    assert found["KL (gamma 0)"][2] == table[:, 2].min()
    assert found["TVD"][3] == table[:, 3].min()
    # TVD leaves the valley empty.
    assert found["TVD"][4] < 0.2 * found["KL (gamma 0)"][4]
    assert shapes(tmp_path / "mixture_toy.svg") > 0


@pytest.mark.slow
def test_a_larger_gamma_makes_the_fit_narrower():
    risks = map(mixture_toy.gamma_risk, mixture_toy.GAMMAS[1:])
    widths = [mixture_toy.fit(risk)[1] for risk in risks]
    assert (np.diff(widths) < 0).all() and widths[0] < 0.6


def test_the_measures_of_the_data_itself():
    assert mixture_toy.kl(mixture_toy.DATA) == pytest.approx(0, abs=1e-12)
    assert mixture_toy.tvd(mixture_toy.DATA) == 0
    assert mixture_toy.DATA.sum() == pytest.approx(1, abs=1e-12)
    # At gamma 1, the risk is 1 minus the sum of data times model.
    p = mixture_toy.bins(0.0, 2.0)
    risk = mixture_toy.gamma_risk(1.0)(p)
    assert risk == pytest.approx(1 - mixture_toy.DATA @ p, rel=1e-12)


def test_the_page_shows_the_table_of_the_run():
    folder = Path(__file__).parents[2] / "docs" / "experiments"
    results = (folder / "mixture_toy" / "results.md").read_text(encoding="utf-8")
    assert results in (folder / "mixture_toy.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in results.splitlines()[2:]]
    assert rows == list(mixture_toy.OBJECTIVES)
