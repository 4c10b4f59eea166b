"""A Keras classifier as a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_calib.arguments import unless_none, whole_number
from keras_calib.ops.looks import are, row_sums
from keras_calib.serving.inspection import interface
from keras_calib.serving.publish import LAST_VERSION, publish, versions
from keras_calib.serving.record import Record, named_inputs
from keras_calib.serving.reload import run
from keras_calib.serving.signatures import Signatures, probabilities
from keras_calib.serving.verify import check_answers, check_graph
from keras_calib.serving.warm_up import write_warm_up

__all__ = ["export"]


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    version: int | None = None,
    class_names: Sequence[str] | None = None,
    from_logits: bool = False,
    inputs: Any = None,
) -> Path:
    """Publishes a classifier as `path/<version>`, for a server that watches `path`.

    The SavedModel has these signatures. All numbers are float32 except the label:

    - `serving_default` takes the inputs of the model by name, and returns
      `probabilities` `(batch, ..., K)`; `confidence`, the largest; `label`, its class
      (int64); and `entropy` in nats.
    - `logits` returns `logits` `(batch, ..., K)`, whose softmax is `probabilities`.
    - `classify` takes serialized tf.Examples, and returns `classes` (names) and
      `scores`, both `(batch, K)`, the likeliest first.
    - `regress` takes the same, and returns the confidence as `outputs`.

    A tf.Example has a feature for each input of the model, under its name.
    `classify` and `regress` are left out if an input has an unknown length or the
    output more than two axes. A model with one output unit, P(class 1), is served
    with two classes.

    The SavedModel is checked before it is published: its graph must be free of Python,
    of functions that must be compiled by XLA, of random ops (dropout left on) and of
    ops that TensorFlow does not have; reloaded, every signature must answer as the
    model does. The complete version, with warm-up requests, is renamed into place, so a
    server never sees half of it. If anything fails, nothing is left behind; if an
    export is killed, the next one removes its files.

    It warns with a `UserWarning` if the signatures, or the names or the order of the
    classes, differ from those of the previous version.

    Args:
        model: a functional or Sequential model with one output, of shape
            `(batch, ..., K)`, or `(batch, 1)` for two classes. Name its inputs:
            `keras.Input(shape, name="image")`. An input without a name is `input`, or
            `input_2` if it is the second of several.
        path: the folder of this model's versions, on this machine.
        version: a whole number in [1, 2**63 - 1], as a server reads it; by default
            the highest existing version plus 1.
        class_names: a list of K distinct strings; by default "0", "1", ...
        from_logits: whether the model outputs logits rather than probabilities.
        inputs: a batch to check and to warm up with, as the model takes it; its first
            8 rows are kept in the SavedModel. By default random values: standard
            normal, zeros and ones for integers, empty strings.

    Returns:
        The folder `path/<version>`.

    Raises:
        ValueError: if the model cannot be served, with the reason; if an argument is
            wrong; on a backend other than TensorFlow.
        TypeError: if `path` is not a path.
        FileExistsError: if `version` exists.
        OSError: if `path` cannot be written.

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
            "Only the TensorFlow backend writes a SavedModel: save the model as a "
            '.keras file and load it with KERAS_BACKEND="tensorflow". '
            f"Received: {keras.backend.backend()!r}"
        )
    path = os.fsdecode(path)
    if not path or "://" in path:
        raise ValueError(
            "`path` must be a folder on this machine, where renaming is atomic. "
            f"Received: {path!r}"
        )
    version = unless_none(whole_number, "version", version, 1, LAST_VERSION)
    signatures = Signatures(model, class_names, from_logits)
    named = named_inputs(inputs, signatures, rows=8)

    def write(folder: Path) -> None:
        record = Record.of(signatures, named)
        _check_probabilities(record)
        archive = keras.export.ExportArchive()
        archive.track(model)
        for name, (function, specs) in signatures.functions().items():
            archive.add_endpoint(name, function, specs)
        archive.write_out(folder, verbose=False)
        check_graph(folder)
        requests = record.requests()
        check_answers(run(folder, requests), record)
        (folder / "assets.extra").mkdir()
        write_warm_up(folder, record.requests(1) + requests)
        record.write(folder)
        _say_what_changed(folder, version)

    return publish(path, version, write)


def _say_what_changed(folder: Path, version: int | None) -> None:
    """Warns if the signatures or classes differ from those of the previous version."""
    existing = versions(folder.parent)
    lower = [n for n in existing if version is None or n < version]
    if not lower:
        return
    before = existing[max(lower)]
    with contextlib.suppress(ValueError):  # the old folder may hold no SavedModel
        old, new = interface(before), interface(folder)
        if old != new:
            warnings.warn(
                f"The signatures differ from those of {before}, so its clients may "
                f"have to change: {sorted(new - old)} now, {sorted(old - new)} before",
                stacklevel=5,
            )
        was, now = (Record.read(path).class_names for path in (before, folder))
        if was != now:
            warnings.warn(
                f"The classes, or their order, differ from those of {before}, whose "
                f"clients may know them by number: {now} now, {was} before",
                stacklevel=5,
            )


def _check_probabilities(record: Record) -> None:
    p = probabilities(record.output, record.from_logits)
    if record.from_logits:
        rows = record.output.reshape(-1, record.output.shape[-1])
        if min(rows.shape) > 1 and rows.min() >= 0 and are(1, row_sums(rows)):
            raise ValueError(
                "`model` must output logits. If it outputs probabilities, pass "
                "from_logits=False. Received: an output in [0, 1] whose rows sum to 1"
            )
    if not np.all((p >= 0) & (p <= 1) & (np.abs(p.sum(-1, keepdims=True) - 1) < 0.02)):
        raise ValueError(
            "`model` must output probabilities that sum to 1. If it outputs logits, "
            "pass from_logits=True; if random inputs mean nothing to it, pass typical "
            f"`inputs`. Received: an output of {record.output[0]}"
        )
