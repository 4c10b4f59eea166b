"""`read_arrays` returns arrays, or raises ValueError, whoever wrote the file."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from keras_calib.serving import arrays
from keras_calib.serving.arrays import read_arrays

KEPT = {
    "x": np.arange(6.0).reshape(2, 3),
    "names": np.array(["a", "é"]),
    "bytes": np.array([b"", b"\xff"]),
    "flag": np.array(True),
    "none": np.zeros((0, 3), "int32"),
}


def archive(**kept):
    file = io.BytesIO()
    np.savez_compressed(file, **kept)
    return file


def member(content, name="x.npy", **kwargs):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(name, content, **kwargs)
    return file


def header(text):
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def claims(shape, descr="<f8"):
    return header(f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}")


def npy(value):
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


def test_it_reads_what_numpy_writes(tmp_path):
    np.savez(tmp_path / "file.npz", **KEPT)
    for file in (archive(**KEPT), tmp_path / "file.npz"):
        found = read_arrays(file)
        assert found.keys() == KEPT.keys()
        for key, value in KEPT.items():
            assert found[key].dtype == value.dtype
            np.testing.assert_array_equal(found[key], value)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


BAD = {
    "nothing": io.BytesIO(),
    "a pickle": io.BytesIO(pickle.dumps(Bomb())),
    "an array": io.BytesIO(npy(KEPT["x"])),
    "a pickle in an archive": member(pickle.dumps(Bomb())),
    "an array of objects": member(npy(np.array([Bomb()], dtype=object))),
    "text in an archive": member("text"),
    "more than it holds": member(claims((1000,))),
    "more than any memory holds": member(claims((2**60,))),
    "a size that overflows": member(claims((2**40, 2**40))),
    "a negative size": member(claims((-1,))),
    "endless text of no width": member(claims((2**50,), "<U0")),
    "endless bytes of no width": member(claims((2**50,), "|V0")),
    "a header of code": member(header("__import__('os').mkdir('exploded')")),
    "a header that does not end": member(header("{'descr': '<f8', 'shape': (((")),
    "a folder": member("", name="x/"),
}


@pytest.mark.parametrize("what", BAD)
def test_whatever_else_is_refused(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError):
        read_arrays(BAD[what])
    assert not os.path.exists("exploded"), "it ran code"


def test_a_file_that_is_missing_or_a_folder(tmp_path):
    for path in (tmp_path, tmp_path / "missing.npz"):
        with pytest.raises(ValueError, match="not an .npz file"):
            read_arrays(path)


def test_a_small_file_that_unpacks_to_a_large_one(monkeypatch):
    file = archive(x=np.zeros(10**6))
    assert len(file.getvalue()) < 20_000
    assert read_arrays(file)["x"].size == 10**6
    monkeypatch.setattr(arrays, "MOST_BYTES", 10**6)
    with pytest.raises(ValueError, match="more than 1000000 bytes"):
        read_arrays(file)


def test_any_damage_is_found_or_harmless():
    """Bytes are changed, or cut off at the end."""
    whole = archive(**KEPT).getvalue()
    rng = np.random.default_rng(0)
    found = 0
    for k in range(1500):
        content = np.frombuffer(whole, "uint8").copy()
        if k % 3:
            content[rng.integers(0, len(whole), k % 3)] = rng.integers(0, 256)
        else:
            content = content[: rng.integers(0, len(whole))]
        try:
            read = read_arrays(io.BytesIO(content.tobytes()))
        except ValueError:
            found += 1
        else:
            for key in KEPT.keys() & read.keys():
                np.testing.assert_array_equal(read[key], KEPT[key])
    assert found > 1000
