"""Runs signatures of a SavedModel. Run as a program, it cannot import Keras.

`python reload.py` reads a pickled (path, requests) and writes the pickled answers.
"""

from __future__ import annotations

import os
import pickle
import sys

import numpy as np


def run(
    path: str | os.PathLike[str], requests: list[tuple[str, dict[str, np.ndarray]]]
) -> list[dict[str, np.ndarray]]:
    """Loads a SavedModel on the CPU, and returns its answer to each request.

    Args:
        path: the folder of a SavedModel.
        requests: names of signatures with their inputs by name.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        signatures = tf.saved_model.load(path).signatures
        return [
            {
                key: value.numpy()
                for key, value in signatures[name](
                    **{key: tf.constant(value) for key, value in inputs.items()}
                ).items()
            }
            for name, inputs in requests
        ]


if __name__ == "__main__":
    # A SavedModel that needs one of these fails here.
    for name in ("keras", "keras_calib", "tf_keras"):
        sys.modules[name] = None  # type: ignore[assignment]
    answers = run(*pickle.load(sys.stdin.buffer))
    pickle.dump(answers, sys.stdout.buffer)
