"""Publishing a version of a model in a folder that a server watches."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

# A server reads the number as an int64.
LAST_VERSION = 2**63 - 1
# Servers ignore a folder whose name is not a number.
_UNPUBLISHED = ".unpublished-"


def publish(
    base: str | os.PathLike[str], version: int | None, write: Callable[[Path], None]
) -> Path:
    """Writes `base/<version>` so that nobody ever sees half of it.

    A server polls `base` and loads every folder whose name is a number. The version
    is therefore written next to them under another name, flushed to the disk, and
    renamed: renaming is atomic, and fails if the number is taken. The files of a killed
    process are removed, unless another one is publishing.

    Args:
        base: the folder of the versions; it is created if necessary.
        version: the number, or `None` for the highest plus one.
        write: fills the folder that it is given. If it raises, or anything else
            fails, nothing is left behind.

    Returns:
        The folder of the version.

    Raises:
        FileExistsError: if `version` exists.
        OSError: if `base` cannot be written.

    Example:

    >>> import tempfile
    >>> from keras_calib.serving.publish import publish
    >>> with tempfile.TemporaryDirectory() as base:
    ...     for text in ("one", "two"):
    ...         folder = publish(base, None, lambda f: (f / text).touch())
    ...     folder.name, [entry.name for entry in folder.iterdir()]
    ('2', ['two'])
    """
    base = Path(base)
    _free(base, version)
    staging = base / f"{_UNPUBLISHED}{uuid.uuid4().hex}"
    made = [folder for folder in staging.parents if not folder.exists()]
    try:
        base.mkdir(parents=True, exist_ok=True)
        with _among_exports(base):
            staging.mkdir(0o700)
            write(staging)
            _settle(staging)
            folder = _rename(staging, base, version)
            try:
                _flush(base)
            except BaseException:
                folder.rename(staging)
                raise
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # another process uses it
                folder.rmdir()
        raise
    return folder


def versions(base: Path) -> dict[int, Path]:
    """Returns the versions that a server sees in a folder, by number."""
    found = {int(p.name): p for p in base.glob("*") if re.fullmatch("[0-9]+", p.name)}
    return {number: path for number, path in found.items() if number <= LAST_VERSION}


@contextlib.contextmanager
def _among_exports(base: Path) -> Iterator[None]:
    """Shares a lock with other exports, and removes the files of killed ones.

    A lock ends with its process, so whoever gets it alone is the only writer.
    """
    if os.name != "posix":  # Windows cannot lock folders
        yield
        return
    import fcntl

    descriptor = os.open(base, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # another export runs, or there are no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in base.glob(f"{_UNPUBLISHED}*"):
                shutil.rmtree(leftover, ignore_errors=True)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _rename(staging: Path, base: Path, version: int | None) -> Path:
    while True:
        folder = _free(base, version)
        try:
            return staging.rename(folder)
        except OSError as error:
            # Another process took the number first.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _free(base: Path, version: int | None) -> Path:
    """Returns the folder of a version that must not exist, by default the next one."""
    taken = versions(base)
    number = version or 1 + max(taken, default=0)
    folder = base / str(number)
    if number in taken or number > LAST_VERSION:
        raise FileExistsError(
            errno.EEXIST,
            "This version exists, and versions never change. Leave `version` out for "
            f"the next free number up to {LAST_VERSION}, or remove the folder",
            str(folder),
        )
    return folder


def _settle(folder: Path) -> None:
    """Makes a folder readable for the user that the server runs as, and flushes it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        _flush(path)


def _flush(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # Windows cannot open folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
