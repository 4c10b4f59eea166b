"""Calibrators are fitted to part of the samples and measured on the rest."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from examples import calibrators
from tests.calibrators import data

PAGE = Path(__file__).parents[2] / "docs" / "experiments"


@pytest.fixture
def outputs():
    z, y = data.made(1600, 3)
    return z, softmax(z, -1), y


def test_a_temperature_fixes_logits_that_are_too_steep(outputs, monkeypatch):
    z, p, y = outputs
    temperature = calibrators.METHODS["temperature"]
    monkeypatch.setattr(calibrators, "METHODS", {"temperature": temperature})
    found = calibrators.compare(p, y, splits=2)
    test = np.random.default_rng(1).permutation(1600)[800:]
    nll = -log_softmax(z[test], -1)[np.arange(800), y[test]].mean()
    before, after = found["uncalibrated"][1], found["temperature"][1]
    assert before[0] == before[2] == pytest.approx(nll, rel=1e-9)
    # The calibrator was fitted to 300 samples, then to 800.
    assert (np.array(after) < before).all()


def test_the_files_are_found_at_any_depth(tmp_path, outputs):
    _, p, y = outputs
    (tmp_path / "deep").mkdir()
    np.savez(tmp_path / "deep" / "net.npz", p=p, y=y[:, None])
    found, labels = calibrators.outputs(tmp_path, "net.npz", "p", "y")
    np.testing.assert_array_equal(found, p)
    np.testing.assert_array_equal(labels, y)


def test_a_quick_run_prints_a_table_for_each_net(
    tmp_path, outputs, capsys, monkeypatch
):
    _, p, y = outputs
    nets = dict(list(calibrators.NETS.items())[:2])
    monkeypatch.setattr(calibrators, "NETS", nets)
    for file, predictions, labels in calibrators.NETS.values():
        np.savez(tmp_path / file, **{predictions: p, labels: y})
    folder = tmp_path / "output"
    calibrators.main(["--quick", "--data", str(tmp_path), "--output", str(folder)])
    results = (folder / "results.md").read_text(encoding="utf-8")
    assert results in capsys.readouterr().out
    blocks = [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        for lines in (block.splitlines() for block in results.split("\n\n"))
    ]
    assert [block[0][0] for block in blocks] == list(calibrators.NETS)
    for (_, *titles), _, *rows in blocks:
        sizes = ("300", "1000", "5000")
        assert titles == [f"{what} ↓, {n}" for n in sizes for what in ("NLL", "ECE")]
        found = {name: np.array(figures, float) for name, *figures in rows}
        assert list(found) == ["uncalibrated", *calibrators.calibrators()]
        # The logits are too steep for all classes, so one number fixes them.
        assert (found["temperature"] < found["uncalibrated"]).all()
        assert found["temperature"][0] < found["matrix"][0]
        assert found["structured_matrix"][0] < found["matrix"][0]


def test_the_page_shows_the_tables_of_a_run():
    page = (PAGE / "calibrators.md").read_text(encoding="utf-8")
    results = (PAGE / "calibrators" / "results.md").read_text(encoding="utf-8")
    assert results in page
    rows = [line.split("|")[1].strip() for line in results.splitlines() if "±" in line]
    names = ["uncalibrated", *calibrators.METHODS, *calibrators.PEERS.values()]
    assert rows == names * len(calibrators.NETS)


def nlls():
    """Returns for each network the mean NLL of each row, by number of samples."""
    results = (PAGE / "calibrators" / "results.md").read_text(encoding="utf-8")
    return [
        {
            cells[1].strip(): np.array([float(c.split("±")[0]) for c in cells[2:-1:2]])
            for cells in (line.split("|") for line in block.splitlines()[2:])
        }
        for block in results.split("\n\n")
    ]


def test_what_the_page_says_of_structured_scaling_is_true():
    page = (PAGE / "calibrators.md").read_text(encoding="utf-8")
    assert "lowest NLL of the thirteen with 5000 samples" in page
    assert len(calibrators.METHODS) == 13
    below, behind, beyond = [], [], []
    for nll in nlls():
        ours, theirs = nll["structured_matrix"], nll["probmetrics, matrix"]
        assert ours[2] == min(nll[name][2] for name in calibrators.METHODS)
        below.append(nll["temperature"][2] - ours[2])
        behind.append(theirs[2] - ours[2])
        beyond.append(ours[1] - min(row[1] for row in nll.values()))
    assert [f"{f(below):.3f}" for f in (min, max)] == ["0.004", "0.036"]
    assert max(map(abs, behind[:3])) < 0.00025  # ten classes
    assert f"{min(behind[3:]):.4f}" == "0.0025"
    assert f"{beyond[0]:.3f}" == "0.002" and max(beyond[1:]) < 0.00105


def test_the_guide_counts_the_networks_whose_nll_falls():
    guide = (PAGE.parent / "guides" / "post_hoc_calibration.md").read_text("utf-8")
    rows = re.findall(
        r"^\| (`.+?) \|.+\| (\d) \| (\d) \| (\d) \|$", guide, re.MULTILINE
    )
    found = {
        name: list(map(int, counts))
        for methods, *counts in rows
        for name in re.findall(r"\w+", methods)
    }
    expected = dict.fromkeys(calibrators.METHODS, np.zeros(3, int))
    for nll in nlls():
        for name in expected:
            expected[name] = expected[name] + (nll[name] < nll["uncalibrated"])
    assert found == {name: count.tolist() for name, count in expected.items()}
