"""A server's own messages can read the warm-up requests."""

import numpy as np
import pytest
import tensorflow as tf

from keras_calib.serving import export
from keras_calib.serving.warm_up import prediction_log
from tests.backends import tensorflow_only
from tests.serving.tools import IMAGES, network

log_pb2 = pytest.importorskip(
    "tensorflow_serving.apis.prediction_log_pb2",
    reason="needs tensorflow-serving-api",
)


def read(message):
    log = log_pb2.PredictionLog.FromString(message)
    assert log.WhichOneof("log_type") == "predict_log"
    return log.predict_log.request


@pytest.mark.parametrize("size", [1, 127, 128, 20_000])  # a length of 1, 2 and 3 bytes
def test_the_message_is_the_official_one(size):
    inputs = {"x": np.arange(size, dtype="float32"), "word": np.array([b"a", b"\0"])}
    request = read(prediction_log("logits", inputs))
    assert request.model_spec.signature_name == "logits"
    assert set(request.inputs) == set(inputs)
    for name, value in inputs.items():
        np.testing.assert_array_equal(tf.make_ndarray(request.inputs[name]), value)
    assert log_pb2.PredictionLog.FromString(
        prediction_log("logits", inputs)
    ).ByteSize() == len(prediction_log("logits", inputs))


@tensorflow_only
def test_every_signature_is_warmed_up_by_one_row_and_by_several(tmp_path):
    folder = export(network(), tmp_path, inputs=IMAGES)
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    asked = [
        (request.model_spec.signature_name, name, tf.make_ndarray(tensor).shape[0])
        for request in map(read, records)
        for name, tensor in request.inputs.items()
    ]
    assert sorted(asked) == sorted(
        (signature, name, rows)
        for rows in (1, 8)
        for signature, name in (
            ("serving_default", "image"),
            ("logits", "image"),
            ("classify", "inputs"),
            ("regress", "inputs"),
        )
    )
