"""The examples share intervals, tables, and the folder that they write to."""

from matplotlib import pyplot as plt

from examples.tables import interval, markdown, write
from tests.svg import shapes


def test_the_interval_is_students():
    # Mean 2, deviation 1, t = 4.303 for two degrees of freedom: 4.303 / sqrt(3).
    assert interval([1.0, 2.0, 3.0], "{:.3f}") == "2.000\u00a0±\u00a02.484"
    # Only the mean gets a sign, and one run has no interval.
    assert interval([1.0, 2.0, 3.0], "{:+.1f}") == "+2.0\u00a0±\u00a02.5"
    assert interval([0.25], "{:.3f}") == "0.250"


def test_a_table_is_as_wide_as_its_cells():
    table = markdown([["loss", "ECE ↓"], ["a", "0.1"], ["longer", "0.25"]])
    assert table.splitlines() == [
        "| loss   | ECE ↓ |",
        "| ------ | ----: |",
        "| a      |   0.1 |",
        "| longer |  0.25 |",
    ]


def test_results_and_pictures_are_written_to_a_new_folder(tmp_path):
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, 1])
    folder = tmp_path / "new" / "folder"
    write(folder, "a table", a_line=figure)
    assert (folder / "results.md").read_text(encoding="utf-8") == "a table\n"
    assert shapes(folder / "a_line.svg") == 1
    assert not plt.fignum_exists(figure.number)  # closed


def test_the_same_figure_is_the_same_file(tmp_path):
    for folder in "one", "other":
        figure, ax = plt.subplots(figsize=(2, 1))
        ax.bar([0, 1], [1, 2], hatch="//")
        write(tmp_path / folder, "", bars=figure)
    one, other = (tmp_path / f / "bars.svg" for f in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
