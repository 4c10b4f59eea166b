"""Runs signatures of a SavedModel. Run as a program, it cannot import Keras.

`python reload.py PATH BYTES` reads requests as an .npz file from standard input, and
writes the answers as another, of at most BYTES bytes, to standard output.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np


def run(
    path: str | os.PathLike[str], requests: list[tuple[str, dict[str, np.ndarray]]]
) -> dict[str, np.ndarray]:
    """Loads a SavedModel on the CPU, and returns the answers of its signatures.

    Args:
        path: the folder of a SavedModel.
        requests: names of signatures with their inputs by name.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        signatures = tf.saved_model.load(path).signatures
        answers: dict[str, Any] = {}
        for name, inputs in requests:
            tensors = {key: tf.constant(value) for key, value in inputs.items()}
            answers |= signatures[name](**tensors)
    return {key: answer.numpy() for key, answer in answers.items()}


def _main(path: str, most_bytes: str) -> None:
    answered = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps what the graph prints out of the answers
    if os.name == "posix":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = int(most_bytes) if hard < 0 else min(int(most_bytes), hard)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    # A SavedModel that needs one of these fails here.
    for name in ("keras", "keras_calib", "tf_keras"):
        sys.modules[name] = None  # type: ignore[assignment]
    import tensorflow as tf

    requests: dict[str, dict[str, np.ndarray]] = {}
    with np.load(sys.stdin.buffer) as asked:
        for key, value in asked.items():
            signature, name = key.split("/")
            if value.dtype.kind == "S":
                value = tf.io.decode_base64(value).numpy()
            requests.setdefault(signature, {})[name] = value
    answers = run(path, list(requests.items()))
    answers = {k: v.astype("S") if v.dtype == object else v for k, v in answers.items()}
    with answered:
        np.savez(answered, **answers)  # type: ignore[arg-type]


if __name__ == "__main__":
    _main(*sys.argv[1:])
