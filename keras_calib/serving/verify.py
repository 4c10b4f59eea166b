"""Whether a SavedModel answers as its model does."""

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


def verify(
    path: str | os.PathLike,
    model: keras.Model | None = None,
    inputs: Any = None,
    *,
    tolerance: float | None = None,
) -> dict[str, float]:
    """Reloads an exported model in a process without Keras, and compares.

    A new process, on the CPU, in which neither `keras` nor `keras_calib` can be
    imported, loads the SavedModel and runs every signature. The answers are compared
    with what the model put out when it was exported, for the same inputs: `export`
    keeps both in `assets.extra/keras_calib.npz`, so that a copy can be verified
    anywhere and at any time. Probabilities, confidences and entropies that should
    come are computed from that output with numpy in float64.

    Args:
        path: the folder of a version, as `export` returned it.
        model: the exported model, if it shall be asked again.
        inputs: a batch to ask `model`, in the form that it takes; by default the
            batch that it was exported with.
        tolerance: the largest difference allowed; by default 1e-5, and 1e-2 for a
            model that computes in half precision.

    Returns:
        The largest difference of each output by its name. Those of `logits` are taken
        after their softmax; those of `label` and `classes` tell how much less likely
        than the right class the named one is.

    Raises:
        ValueError: where a difference is larger than `tolerance` or is NaN; where
            the graph holds what a server refuses; where there is nothing to compare
            with.
        RuntimeError: where the new process fails, with what it said.

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
        if inputs is not None:
            inputs = named_inputs(inputs, signatures)
        record = Record.of(signatures, record.inputs if inputs is None else inputs)
    elif inputs is not None:
        raise ValueError("`inputs` need a `model` that says what to expect for them")
    check_graph(path)
    return check_answers(
        _run_without_keras(path, record),
        record,
        record.tolerance if tolerance is None else tolerance,
    )


def check_graph(path: str | os.PathLike) -> None:
    """Raises ValueError where the SavedModel holds what a server refuses."""
    if found := problems(path):
        raise ValueError("This model cannot be served: " + "; ".join(found))


def check_answers(
    answers: list[dict[str, np.ndarray]], record: Record, tolerance: float
) -> dict[str, float]:
    """Returns the largest difference of each output.

    Args:
        answers: what the signatures gave, in the order of `record.signatures`.
        record: what the model put out.
        tolerance: the largest difference allowed.

    Raises:
        ValueError: where one is larger, or NaN.
    """
    served = {key: value for answer in answers for key, value in answer.items()}
    p = probabilities(record.output, record.from_logits)
    top = p.max(-1)
    expected = {
        "probabilities": (served["probabilities"], p),
        "confidence": (served["confidence"], top),
        "label": (_pick(p, served["label"][..., None])[..., 0], top),
        "entropy": (served["entropy"], -np.sum(p * np.log(np.where(p, p, 1.0)), -1)),
        "logits": (probabilities(served["logits"], from_logits=True), p),
    }
    if "classes" in served:
        index = {name.encode(): k for k, name in enumerate(record.class_names)}
        # A name that is none of them stands for a probability of NaN.
        classes = np.vectorize(lambda name: index.get(name, -1))(served["classes"])
        with_unknown = np.pad(p, ((0, 0), (0, 1)), constant_values=np.nan)
        sorted_p = -np.sort(-p, -1)
        expected["classes"] = _pick(with_unknown, classes), sorted_p
        expected["scores"] = served["scores"], sorted_p
        expected["outputs"] = served["outputs"], top
    differences = {k: float(np.abs(a - b).max()) for k, (a, b) in expected.items()}
    wrong = {k: d for k, d in differences.items() if not d <= tolerance}
    if wrong:
        raise ValueError(
            f"The served model differs from the model by more than {tolerance:g}: "
            + ", ".join(f"{name} by {d:.3g}" for name, d in wrong.items())
        )
    return differences


def _pick(p: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.take_along_axis(p, index, axis=-1)


def _run_without_keras(path: str | os.PathLike, record: Record) -> list:
    done = subprocess.run(
        # -P: the files beside the program are no modules to import.
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
    return pickle.loads(done.stdout)
