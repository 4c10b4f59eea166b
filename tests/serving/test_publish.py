"""`publish` leaves no partial version and no temporary files, and reuses no number."""

import os
import subprocess
import sys

import pytest

from keras_calib.serving.publish import publish


def write(folder):
    (folder / "variables").mkdir()
    (folder / "variables" / "data").write_text("data")
    (folder / "saved_model.pb").write_text("graph")


def versions(base):
    return sorted(os.listdir(base), key=int)


def test_the_next_number_is_one_more_than_the_highest(tmp_path):
    for name in ("3", "007", "10", "abc", "-20", "30.0", "²"):
        (tmp_path / name).mkdir()
    assert publish(tmp_path, None, write).name == "11"


def test_folders_above_are_made(tmp_path):
    folder = publish(tmp_path / "a" / "b", None, write)
    assert folder == tmp_path / "a" / "b" / "1"
    assert (folder / "variables" / "data").read_text() == "data"


def test_no_version_is_visible_while_it_is_written(tmp_path):
    def watching(folder):
        write(folder)
        assert folder.parent == tmp_path
        assert not any(name.isdigit() for name in os.listdir(tmp_path))

    publish(tmp_path, None, watching)
    assert versions(tmp_path) == ["1"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path, error):
    def failing(folder):
        write(folder)
        raise error("no")

    publish(tmp_path / "old", None, write)
    for base in ("old", "new", "new/er/est"):
        with pytest.raises(error):
            publish(tmp_path / base, None, failing)
    assert os.listdir(tmp_path) == ["old"]
    assert versions(tmp_path / "old") == ["1"]


def test_another_process_takes_the_number_first(tmp_path):
    """`publish` then takes the next number, or raises if it was told the number."""

    def slow(folder):
        publish(tmp_path, None, write)
        write(folder)

    assert publish(tmp_path, None, slow).name == "2"
    with pytest.raises(FileExistsError, match="This version exists"):
        publish(tmp_path, 3, slow)
    assert versions(tmp_path) == ["1", "2", "3"]


MANY = """
import pathlib, runpy, sys
publish = runpy.run_path(sys.argv[1])["publish"]
for _ in range(20):
    print(publish(sys.argv[2], None, lambda f: (f / "data").write_text("data")).name)
"""


def test_two_processes_at_once(tmp_path):
    command = [sys.executable, "-c", MANY, publish.__code__.co_filename, tmp_path]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    names = b"".join(process.communicate()[0] for process in running).split()
    wanted = [str(n) for n in range(1, 41)]
    assert sorted(names, key=int) == [name.encode() for name in wanted]
    assert versions(tmp_path) == wanted
    assert all((tmp_path / n / "data").read_text() == "data" for n in wanted)
