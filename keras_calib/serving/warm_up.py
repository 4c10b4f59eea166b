"""Requests that a server runs on a new version before it serves it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from keras_calib._keras import tensorflow as tf
from keras_calib.serving.record import Request


def write_warm_up(folder: Path, requests: Iterable[Request]) -> None:
    """Writes `assets.extra/tf_serving_warmup_requests` into a SavedModel.

    The file is a TFRecord of tensorflow.serving.PredictionLog. A PredictRequest can
    name any signature, so this one kind of log is enough.

    Source: https://www.tensorflow.org/tfx/serving/saved_model_warmup
    """
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            writer.write(prediction_log(signature, inputs))


def prediction_log(signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    """Returns a serialized PredictionLog that holds one PredictRequest.

    It is encoded by hand, because these messages are defined in a package for
    clients, and are only nested fields:
    PredictionLog.predict_log = 6, PredictLog.request = 1,
    PredictRequest.model_spec = 1 and .inputs = 2 (a map: key = 1, value = 2),
    ModelSpec.signature_name = 3. A warm-up request needs no model name.

    Source: tensorflow_serving/apis, prediction_log.proto, predict.proto, model.proto
    """
    request = _field(1, _field(3, signature.encode()))
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))


def _field(number: int, payload: bytes) -> bytes:
    """Returns a length-delimited field: its tag, its length and its payload."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(n: int) -> bytes:
    """Returns `n` in groups of seven bits, lowest first, all but the last marked."""
    head = b""
    while n > 127:
        head += bytes([n & 127 | 128])
        n >>= 7
    return head + bytes([n])
