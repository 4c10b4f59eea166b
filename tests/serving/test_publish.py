"""`publish` leaves no partial version and no temporary files, and reuses no number."""

import errno
import os
import pathlib
import signal
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


@pytest.mark.parametrize("failing", range(6))
def test_a_flush_that_fails_leaves_nothing(tmp_path, monkeypatch, failing):
    """The last one is that of the folder of versions, after the renaming."""
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) > failing:
            raise OSError(errno.EIO, "no")

    publish(tmp_path / "old", None, write)
    monkeypatch.setattr(os, "fsync", fsync)
    for base in ("old", "new"):
        calls.clear()
        if failing == 5:
            publish(tmp_path / base, 2, write)
            continue
        with pytest.raises(OSError, match="no"):
            publish(tmp_path / base, None, write)
        assert len(calls) == failing + 1
        assert os.listdir(tmp_path) == ["old"]
        assert versions(tmp_path / "old") == ["1"]


KILLED = """
import os, runpy, signal, sys
publish = runpy.run_path(sys.argv[1])["publish"]

def write(folder):
    (folder / "data").write_text("half")
    if sys.argv[3] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    print("writing", flush=True)
    sys.stdin.readline()

publish(sys.argv[2], None, write)
"""


def start(base, how):
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, publish.__code__.co_filename, base, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot lock folders")
def test_what_killed_exports_leave_is_removed_by_the_next(tmp_path):
    for _ in range(2):
        assert start(tmp_path, "killed").wait() == -signal.SIGKILL
    assert len(list(tmp_path.glob(".unpublished-*"))) == 1
    (tmp_path / ".other").mkdir()
    (tmp_path / ".unpublished-file").touch()
    assert publish(tmp_path, None, write).name == "1"
    assert sorted(os.listdir(tmp_path)) == [".other", ".unpublished-file", "1"]


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot lock folders")
def test_what_others_write_is_left_alone(tmp_path):
    assert start(tmp_path, "killed").wait() == -signal.SIGKILL
    others = [start(tmp_path, "slow") for _ in range(2)]
    for other in others:
        assert other.stdout.readline() == b"writing\n"
    assert len(list(tmp_path.glob(".unpublished-*"))) == 2
    assert publish(tmp_path, None, write).name == "1"
    with pytest.raises(FileExistsError):
        publish(tmp_path, 1, write)
    assert len(list(tmp_path.glob(".unpublished-*"))) == 2
    for other in others:
        other.communicate(b"\n")
        assert other.returncode == 0
    assert versions(tmp_path) == ["1", "2", "3"]
    assert (tmp_path / "3" / "data").read_text() == "half"


def test_without_locks_it_publishes(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".unpublished-by-another").mkdir()
    assert publish(tmp_path, None, write).name == "1"
    assert sorted(os.listdir(tmp_path)) == [".unpublished-by-another", "1"]


def test_a_number_is_taken_however_it_is_written(tmp_path):
    (tmp_path / "007").mkdir()
    (tmp_path / "3").touch()
    for version in (3, 7):
        with pytest.raises(FileExistsError, match="This version exists"):
            publish(tmp_path, version, write)
    assert publish(tmp_path, 5, write).name == "5"


def test_numbers_that_no_server_reads(tmp_path):
    last = 2**63 - 1
    for name in (last + 1, 2**70):
        (tmp_path / str(name)).mkdir()
    assert publish(tmp_path, None, write).name == "1"
    assert publish(tmp_path, last, write).name == str(last)
    with pytest.raises(FileExistsError, match=str(last)):
        publish(tmp_path, None, write)
    assert not list(tmp_path.glob(".unpublished-*"))


@pytest.mark.parametrize("name", ["a" * 300, "file/under", "file"])
def test_a_folder_that_cannot_be_made_leaves_none_above_it(tmp_path, name):
    (tmp_path / "file").touch()
    for base in (tmp_path / name, tmp_path / "new" / ("a" * 300)):
        with pytest.raises(OSError):
            publish(base, None, write)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 0)() == 0, reason="the superuser may write anywhere"
)
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            publish(tmp_path / "new", None, pytest.fail)
        assert os.listdir(tmp_path) == []
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    def mkdir(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "no", str(self))

    (tmp_path / "1").mkdir()
    monkeypatch.setattr(pathlib.Path, "mkdir", mkdir)
    for base in (tmp_path, tmp_path / "new"):
        with pytest.raises(PermissionError):
            publish(base, None, pytest.fail)
    assert os.listdir(tmp_path) == ["1"]
