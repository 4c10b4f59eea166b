"""A Keras classifier as a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_calib.serving.publish import publish
from keras_calib.serving.record import Record, named_inputs
from keras_calib.serving.reload import run
from keras_calib.serving.signatures import Signatures, probabilities
from keras_calib.serving.verify import check_answers, check_graph
from keras_calib.serving.warm_up import write_warm_up


def export(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    version: int | None = None,
    class_names: Sequence[str] | None = None,
    from_logits: bool = False,
    inputs: Any = None,
) -> Path:
    """Publishes a classifier as `path/<version>`, for a server that watches `path`.

    The signatures of the SavedModel, all of whose numbers are float32 but for the
    label:

    - `serving_default`, from the inputs of the model by name: `probabilities`
      `(batch, ..., K)`; `confidence`, the largest; `label`, its class (int64);
      `entropy` in nats.
    - `logits`: `logits` `(batch, ..., K)`, whose softmax is `probabilities`.
    - `classify`, from serialised tf.Examples: `classes` (names) and `scores`, both
      `(batch, K)`, the likeliest first.
    - `regress`, from the same: `outputs`, the confidence.

    A tf.Example has a feature for each input of the model, under its name. There is
    no `classify` and no `regress` for inputs of unknown length and for outputs of
    more than two axes. A model with one output unit, of P(class 1), is served with
    two classes.

    What is written is checked before it is published: the graph must hold no Python,
    no function for XLA only, no random op (dropout left on) and no op that is not
    TensorFlow's own; reloaded, every signature must answer as the model does. The
    version is renamed into place when it is complete, so that a server never sees
    half of it, and with requests to warm up by. Where anything fails, nothing is
    left behind.

    Args:
        model: a functional or Sequential model with one output, of shape
            `(batch, ..., K)`, or `(batch, 1)` for two classes. Name its inputs:
            `keras.Input(shape, name="image")`.
        path: folder of the versions of this model, on this machine.
        version: a number; by default the highest there plus one.
        class_names: K distinct names; by default "0", "1", ...
        from_logits: whether the model puts out logits and not probabilities.
        inputs: a batch, in the form that the model takes, to check and to warm up
            with; its first 8 rows are kept in the SavedModel. By default random
            ones: standard normal, zeros and ones for integers, empty strings.

    Returns:
        The folder `path/<version>`.

    Raises:
        ValueError: for a model that cannot be served, which says why; for wrong
            arguments; on another backend than TensorFlow.
        FileExistsError: where `version` is there already.
        OSError: where `path` cannot be written.

    Example:

    >>> import keras, tempfile, tensorflow as tf
    >>> model = keras.Sequential([
    ...     keras.Input((4,), name="flower"),
    ...     keras.layers.Dense(3, activation="softmax"),
    ... ])
    >>> with tempfile.TemporaryDirectory() as path:
    ...     folder = keras_calib.serving.export(model, path)
    ...     served = tf.saved_model.load(folder).signatures["serving_default"]
    ...     answer = served(flower=tf.zeros((2, 4)))
    >>> folder.name, answer["probabilities"].shape
    ('1', TensorShape([2, 3]))

    Source: https://www.tensorflow.org/tfx/serving/signature_defs
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "A SavedModel is written by the TensorFlow backend: save the model as a "
            '.keras file and load it under KERAS_BACKEND="tensorflow". '
            f"Received: {keras.backend.backend()!r}"
        )
    if "://" in os.fspath(path):
        raise ValueError(
            "`path` must be a folder on this machine, where a rename is one step. "
            f"Received: {path!r}"
        )
    if version is not None and (type(version) is not int or version < 1):
        raise ValueError(f"`version` must be a whole number >= 1. Received: {version}")
    signatures = Signatures(model, class_names, from_logits)
    record = Record.of(signatures, named_inputs(inputs, signatures, rows=8))
    _check_probabilities(record)

    def write(folder: Path) -> None:
        archive = keras.export.ExportArchive()
        archive.track(model)
        for name, (function, specs) in signatures.functions().items():
            archive.add_endpoint(name, function, specs)
        archive.write_out(folder, verbose=False)
        check_graph(folder)
        requests = record.requests()
        check_answers(run(folder, requests), record, record.tolerance)
        write_warm_up(folder, record.requests(1) + requests)
        record.write(folder)

    return publish(path, version, write)


def _check_probabilities(record: Record) -> None:
    p = probabilities(record.output, record.from_logits)
    if not np.all((p >= 0) & (p <= 1) & (np.abs(p.sum(-1, keepdims=True) - 1) < 0.02)):
        raise ValueError(
            "`model` must put out probabilities that sum to 1; say from_logits=True "
            "where it puts out logits, and give typical `inputs` where random ones "
            f"make no sense to it. Received: an output of {record.output[0]}"
        )
