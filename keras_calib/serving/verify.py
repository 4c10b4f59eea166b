"""Checks that a SavedModel answers as its model does."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import Any

import keras
import numpy as np

from keras_calib.serving import reload
from keras_calib.serving.inspection import problems
from keras_calib.serving.record import Record, named_inputs
from keras_calib.serving.signatures import Signatures, probabilities

__all__ = ["verify"]


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
    in `assets.extra/keras_calib.npz`, so a copy can be verified anywhere, any time.
    The expected values are computed from that output with numpy in float64.

    Args:
        path: the folder of a version, as `export` returned it.
        model: the exported model, to compare with its present output.
        inputs: a batch for `model`, as it takes it; by default the batch that it was
            exported with.
        tolerance: the largest difference allowed; by default 1e-5, and 1e-2 for a
            model that computes in half precision.

    Returns:
        The largest difference of each output by its name. `logits` are compared after
        their softmax; for `label` and `classes` the difference is by how much the
        named class is less likely than the right one.

    Raises:
        ValueError: if a difference is larger than `tolerance` or NaN, if the graph
            holds what a server refuses, or if there is no record to compare with.
        RuntimeError: if the new process fails, with its error output.

    Example:

    >>> import keras, tempfile
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as path:
    ...     folder = keras_calib.serving.export(model, path, from_logits=True)
    ...     differences = keras_calib.serving.verify(folder)
    >>> differences["probabilities"] < 1e-6
    True
    """
    record = Record.read(path)
    if model is not None:
        signatures = Signatures(model, record.class_names, record.from_logits)
        kept = list(record.inputs.values())
        inputs = named_inputs(kept if inputs is None else inputs, signatures)
        record = Record.of(signatures, inputs)
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
        served: what the signatures answer, by the name of the output.
        record: the output of the model.

    Raises:
        ValueError: if a difference is larger than `record.tolerance`, or NaN.
    """
    limit = record.tolerance
    p = probabilities(record.output, record.from_logits)
    top = p.max(-1)
    expected = {
        "probabilities": (served["probabilities"], p),
        "confidence": (served["confidence"], top),
        "label": (np.take_along_axis(p, served["label"][..., None], -1)[..., 0], top),
        "entropy": (served["entropy"], -np.sum(p * np.log(np.where(p, p, 1.0)), -1)),
        "logits": (probabilities(served["logits"], from_logits=True), p),
    }
    if "classes" in served:
        index = {name.encode(): k for k, name in enumerate(record.class_names)}
        # An unknown name gets a probability of NaN.
        classes = np.vectorize(lambda name: index.get(name, -1))(served["classes"])
        with_unknown = np.pad(p, ((0, 0), (0, 1)), constant_values=np.nan)
        sorted_p = -np.sort(-p, -1)
        expected["classes"] = np.take_along_axis(with_unknown, classes, -1), sorted_p
        expected["scores"] = served["scores"], sorted_p
        expected["outputs"] = served["outputs"], top
    differences = {k: float(np.abs(a - b).max()) for k, (a, b) in expected.items()}
    wrong = [f"{k} by {d:.3g}" for k, d in differences.items() if not d <= limit]
    if wrong:
        raise ValueError(
            f"The served model differs from the model by more than {limit:g}: "
            + ", ".join(wrong)
        )
    return differences


def _answers(path: str | os.PathLike[str], record: Record) -> dict[str, np.ndarray]:
    """Returns what the signatures answer in a process without Keras."""
    done = subprocess.run(
        # -P keeps the program's folder out of the import path.
        [sys.executable, "-P", reload.__file__],
        input=pickle.dumps((os.fspath(path), record.requests())),
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
    )
    if done.returncode:
        raise RuntimeError(
            f"The SavedModel {path} does not run without Keras:\n"
            + done.stderr.decode(errors="replace")[-2000:]
        )
    answers: dict[str, np.ndarray] = pickle.loads(done.stdout)
    return answers
