"""Reads arrays from untrusted .npz files."""

from __future__ import annotations

import os
import zipfile
from typing import IO

import numpy as np

MOST_BYTES = 2**32


def read_arrays(file: str | os.PathLike[str] | IO[bytes]) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name.

    It unpickles nothing, and unpacks at most `MOST_BYTES`.

    Raises:
        ValueError: if the file holds anything else.

    Example:

    >>> import io
    >>> from keras_calib.serving.arrays import read_arrays
    >>> file = io.BytesIO()
    >>> np.savez(file, x=[1, 2])
    >>> read_arrays(file)
    {'x': array([1, 2])}
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES} bytes")
            arrays = {
                member.filename.removesuffix(".npy"): np.lib.format.read_array(
                    archive.open(member), allow_pickle=False
                )
                for member in members
            }
    except Exception as error:  # a damaged file raises nearly anything
        raise ValueError(f"This is not an .npz file of arrays: {error!r}") from error
    # An array of empty text takes no bytes in the file, however long it is.
    if endless := [name for name, array in arrays.items() if array.size > array.nbytes]:
        raise ValueError(f"Arrays must not hold empty text. Received: {endless}")
    return arrays
