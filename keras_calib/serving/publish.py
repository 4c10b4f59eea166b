"""Publishing a version of a model in a folder that a server watches."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def publish(
    base: str | os.PathLike[str], version: int | None, write: Callable[[Path], None]
) -> Path:
    """Writes `base/<version>` so that nobody ever sees half of it.

    A server polls `base` and loads every folder whose name is a number. The version
    is therefore written beside them under another name, flushed to the disk, and
    renamed: renaming is atomic, and fails if the number is taken.

    Args:
        base: the folder of the versions; it is created if necessary.
        version: the number, or `None` for the highest plus one.
        write: fills the folder that it is given. If it raises, nothing is left
            behind.

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
    if version is not None and (base / str(version)).exists():
        raise _taken(base, version)
    made = [folder for folder in (base, *base.parents) if not folder.exists()]
    base.mkdir(parents=True, exist_ok=True)
    try:
        staging = Path(tempfile.mkdtemp(prefix=".unpublished-", dir=base))
        try:
            write(staging)
            _settle(staging)
            folder = _rename(staging, base, version)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    except BaseException:
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()
        raise
    _flush(base)
    return folder


def _rename(staging: Path, base: Path, version: int | None) -> Path:
    while True:
        folder = base / str(version or _next_version(base))
        try:
            os.rename(staging, folder)
            return folder
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if version is not None:
                raise _taken(base, version) from None
            # Another process took the number: try the next one.


def _next_version(base: Path) -> int:
    names = (entry.name for entry in base.iterdir())
    return 1 + max((int(n) for n in names if re.fullmatch("[0-9]+", n)), default=0)


def _taken(base: Path, version: int) -> FileExistsError:
    return FileExistsError(
        errno.EEXIST,
        "This version exists, and versions never change. Leave `version` out for the "
        "next free number, or remove the folder",
        str(base / str(version)),
    )


def _settle(folder: Path) -> None:
    """Makes a folder readable for the user that the server runs as, and flushes it."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            os.chmod(os.path.join(parent, name), 0o644)
            _flush(os.path.join(parent, name))
        os.chmod(parent, 0o755)
        _flush(parent)


def _flush(path: str | os.PathLike[str]) -> None:
    if os.path.isdir(path) and os.name != "posix":
        return  # Windows cannot open folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
