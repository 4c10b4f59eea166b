"""A temperature changes confidences, but not their order if there are two classes."""

from pathlib import Path

import numpy as np
import pytest

from examples import selective_prediction
from examples.selective_prediction import METHODS, TASKS
from tests.backends import tensorflow_only
from tests.svg import shapes

PAGE = Path(__file__).parents[2] / "docs" / "experiments"


@pytest.mark.slow
@tensorflow_only
def test_a_temperature_keeps_the_order_of_two_classes(tmp_path, capsys):
    selective_prediction.main(["--quick", "--output", str(tmp_path)])
    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    rows = [line.strip("|").split("|") for line in results.splitlines()[2:]]
    found = {row[0].strip(): np.array(row[1:], float) for row in rows}
    assert len(found) == len(TASKS) * len(METHODS)
    for task in TASKS:
        before, after = found[f"{task}, as trained"], found[f"{task}, temperature"]
        assert before[0] == after[0]  # the accuracy
        assert after[3] < before[3]  # the ECE
        # The most confident predictions are right more often than all are.
        assert (before[2], after[2]) > (before[0], after[0])
    before, after = found["odd or even, as trained"], found["odd or even, temperature"]
    # float32 confidences near 1 can tie before or after, so their order may change.
    np.testing.assert_allclose(before[:3], after[:3], atol=5e-4)
    assert shapes(tmp_path / "risk_coverage.svg") > 0


def test_the_curve_of_four_predictions():
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.55, 0.45]])
    curve = selective_prediction.risk_coverage(np.array([0, 0, 1, 1]), p)
    # The most confident first: right, right, wrong, wrong.
    np.testing.assert_allclose(curve, [0, 0, 1 / 3, 1 / 2])
    one = selective_prediction.risk_coverage(np.array([0, 0, 1, 1]), p[:, 1:])
    np.testing.assert_allclose(one, curve)


def test_the_page_shows_the_table_of_the_run():
    results = PAGE / "selective_prediction" / "results.md"
    page = (PAGE / "selective_prediction.md").read_text(encoding="utf-8")
    assert results.read_text(encoding="utf-8") in page
