"""Checks that a SavedModel answers as its model does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Any

import keras
import numpy as np

from keras_calib._keras import tensorflow as tf
from keras_calib.arguments import in_range, unless_none
from keras_calib.serving import reload
from keras_calib.serving.arrays import MOST_BYTES, read_arrays
from keras_calib.serving.inspection import problems
from keras_calib.serving.record import Record, named_inputs
from keras_calib.serving.signatures import Signatures, probabilities

__all__ = ["verify"]

# The time in which a model must load and answer, in seconds.
_SECONDS = 600.0


def verify(
    path: str | os.PathLike[str],
    model: keras.Model | None = None,
    inputs: Any = None,
    *,
    tolerance: float | None = None,
) -> dict[str, float]:
    """Reloads an exported model in a process without Keras, and compares.

    A new process on the CPU, which can import neither `keras` nor `keras_calib`,
    loads the SavedModel and runs every signature. Its answers are compared with the
    output of the model for the same inputs when it was exported. `export` keeps both
    in `assets.extra/keras_calib.npz`, so a copy can be verified anywhere.
    The expected values are computed from that output with numpy in float64.

    Whatever the SavedModel holds, this process unpickles nothing, and reads at most
    4 GiB of answers. The new process runs the graph, which may read and write files:
    verify only a model that you would serve.

    Args:
        path: the folder of a version, as `export` returned it.
        model: the exported model, to compare with its present output.
        inputs: a batch for `model`, as it takes it; by default the batch that it was
            exported with.
        tolerance: the largest difference allowed; by default 1e-5, and 1e-2 for a
            model that computes in half precision.

    Returns:
        The largest difference of each output by its name. `logits` are compared after
        their softmax; `label` and `classes` by the probabilities of the named and of
        the expected class.

    Raises:
        ValueError: if a difference is larger than `tolerance` or NaN, if the graph
            holds what a server refuses, if there is no SavedModel or no record to
            compare with, if either is damaged, or if an argument is wrong.
        RuntimeError: if the new process fails, with its error output, or takes more
            than ten minutes.

    Example:

    >>> import keras, tempfile
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as path:
    ...     folder = keras_calib.serving.export(model, path, from_logits=True)
    ...     differences = keras_calib.serving.verify(folder)
    >>> differences["probabilities"] < 1e-6
    True
    """
    path = os.fsdecode(path)
    tolerance = unless_none(in_range, "tolerance", tolerance, 0.0, float("inf"))
    record = Record.read(path)
    if model is not None:
        signatures = Signatures(model, record.class_names, record.from_logits)
        kept = list(record.inputs.values())
        given = named_inputs(kept if inputs is None else inputs, signatures)
        # The SavedModel may have other names for them.
        named = dict(zip(record.inputs, given.values(), strict=False))
        record = Record.of(signatures, given)._replace(inputs=named)
    elif inputs is not None:
        raise ValueError(
            "`inputs` need a `model` to compare with. Received: model=None"
        )
    if tolerance is not None:
        record = record._replace(tolerance=tolerance)
    check_graph(path)
    return check_answers(_answers(path, record), record)


def check_graph(path: str | os.PathLike[str]) -> None:
    """Raises a ValueError if the SavedModel holds what a server refuses."""
    if found := problems(path):
        raise ValueError("This model cannot be served: " + "; ".join(found))


def check_answers(served: dict[str, np.ndarray], record: Record) -> dict[str, float]:
    """Returns the largest difference of each output.

    Args:
        served: the answers of the signatures, by the name of the output.
        record: the output of the model.

    Raises:
        ValueError: if a difference is larger than `record.tolerance`, or NaN.
    """
    p = probabilities(record.output, record.from_logits)
    top = p.max(-1)
    expected = {
        "probabilities": p,
        "confidence": top,
        "label": top,
        "entropy": -np.sum(p * np.log(np.where(p, p, 1.0)), -1),
        "logits": p,
    }
    if "classify" in record.signatures:
        ordered = -np.sort(-p, -1)
        expected |= {"classes": ordered, "scores": ordered, "outputs": top}
    index = {name.encode(): k for k, name in enumerate(record.class_names)}
    read: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "label": lambda label: _of_classes(p, label[..., None])[..., 0],
        "logits": lambda z: probabilities(z, from_logits=True),
        "classes": lambda names: _of_classes(p, np.vectorize(index.get)(names, -1)),
    }
    differences = {}
    for key, value in expected.items():
        answer = served.get(key, np.array(None))
        kind = {"label": "i", "classes": "SO"}.get(key, "f")
        if answer.dtype.kind not in kind or answer.shape != value.shape:
            raise ValueError(
                f"The served {key} must be of kind {kind} and shape {value.shape}. "
                f"Received: {answer.dtype} {answer.shape}"
            )
        difference = read.get(key, np.asarray)(answer) - value
        differences[key] = float(np.abs(difference).max())
    limit = record.tolerance
    wrong = [f"{k} by {d:.3g}" for k, d in differences.items() if not d <= limit]
    if wrong:
        raise ValueError(
            f"The served model differs from the model by more than {limit:g}: "
            + ", ".join(wrong)
        )
    return differences


def _of_classes(p: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns the probabilities of classes, NaN for a class that does not exist."""
    known = (classes >= 0) & (classes < p.shape[-1])
    found = np.take_along_axis(p, np.where(known, classes, 0), -1)
    return np.where(known, found, np.nan)


def _answers(path: str, record: Record) -> dict[str, np.ndarray]:
    """Returns the answers of the signatures in a process without Keras."""
    requests = {
        f"{signature}/{name}": _without_nul(value)
        for signature, inputs in record.requests()
        for name, value in inputs.items()
    }
    # Files without a name: nobody else can write or replace them.
    with TemporaryFile() as asked, TemporaryFile() as answered, TemporaryFile() as said:
        np.savez(asked, **requests)  # type: ignore[arg-type]
        asked.seek(0)
        try:
            subprocess.run(
                # -P keeps the program's folder out of the import path.
                [sys.executable, "-P", reload.__file__, path, str(MOST_BYTES)],
                stdin=asked,
                stdout=answered,
                stderr=said,
                env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
                timeout=_SECONDS,
                check=True,
            )
        except subprocess.SubprocessError as error:
            said.seek(max(said.seek(0, os.SEEK_END) - 2000, 0))
            raise RuntimeError(
                f"The SavedModel {path} does not run without Keras: {error}\n"
                + said.read().decode(errors="replace")
            ) from None
        return read_arrays(answered)


def _without_nul(value: np.ndarray) -> np.ndarray:
    """Returns bytes in base64, because numpy drops zero bytes at their end."""
    if value.dtype.kind not in "SO":
        return value
    coded: np.ndarray = tf.io.encode_base64(value).numpy().astype("S")
    return coded
