"""Runs signatures of a SavedModel. Run as a program, it cannot import Keras.

`python reload.py` reads a pickled (path, requests) and writes the pickled answers.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

import numpy as np


def run(
    path: str | os.PathLike[str], requests: list[tuple[str, dict[str, np.ndarray]]]
) -> dict[str, np.ndarray]:
    """Loads a SavedModel on the CPU, and returns what its signatures answer.

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


if __name__ == "__main__":
    # A SavedModel that needs one of these fails here.
    for name in ("keras", "keras_calib", "tf_keras"):
        sys.modules[name] = None  # type: ignore[assignment]
    answers = run(*pickle.load(sys.stdin.buffer))
    pickle.dump(answers, sys.stdout.buffer)
