"""Official stubs and an independent client get the model's answers from a server."""

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_calib.serving import export
from keras_calib.serving.examples import encode
from tests.backends import tensorflow_only
from tests.serving.tools import IMAGES, NAMES, assert_answers, network

grpc = pytest.importorskip("grpc", reason="needs grpcio")
pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")

from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

pytestmark = [pytest.mark.slow, tensorflow_only]
ROOT = Path(__file__).parents[2]
SECONDS = 30


class Server:
    """A test server of one folder in a process of its own, with its clients."""

    def __init__(self, folder, name="demo"):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.server", folder, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            text=True,
        )
        ready, self.grpc_port, self.rest_port = self.process.stdout.readline().split()
        assert ready == "READY"
        channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)

    def close(self):
        self.process.stdin.close()
        self.process.wait(SECONDS)

    def predict(self, x, signature="", name="demo", key="image", version=None, only=()):
        request = predict_pb2.PredictRequest(output_filter=only)
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        request.inputs[key].CopyFrom(tf.make_tensor_proto(x))
        return self.prediction.Predict(request, SECONDS)

    def rest(self, path, body=None):
        """Returns the status and the JSON."""
        url = f"http://127.0.0.1:{self.rest_port}/v1/models/{path}"
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data)) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def server(published):
    server = Server(published.parent)
    yield server
    server.close()


def arrays(response):
    return {key: tf.make_ndarray(value) for key, value in response.outputs.items()}


def examples_request(kind, signature):
    request = kind()
    request.model_spec.name = "demo"
    request.model_spec.signature_name = signature
    for example in encode({"image": IMAGES}):
        request.input.example_list.examples.add().MergeFromString(example)
    return request


# gRPC, by the official stubs.


@pytest.mark.parametrize("batch", [1, 2, 33])
def test_grpc_predict(server, probabilities, batch):
    response = server.predict(IMAGES[:batch])
    assert response.model_spec.version.value == 1
    assert_answers(arrays(response), probabilities[:batch])


def test_grpc_other_signatures_and_outputs(server, probabilities):
    z = arrays(server.predict(IMAGES, "logits"))["logits"]
    np.testing.assert_allclose(tf.nn.softmax(z), probabilities, atol=1e-6)
    assert list(server.predict(IMAGES, only=["label"]).outputs) == ["label"]


def test_grpc_classify(server, probabilities):
    request = examples_request(classification_pb2.ClassificationRequest, "classify")
    response = server.prediction.Classify(request, SECONDS)
    for p, found in zip(probabilities, response.result.classifications, strict=True):
        assert [c.label for c in found.classes] == [NAMES[k] for k in np.argsort(-p)]
        scores = [c.score for c in found.classes]
        np.testing.assert_allclose(scores, -np.sort(-p), atol=1e-6)


def test_grpc_regress(server, probabilities):
    request = examples_request(regression_pb2.RegressionRequest, "regress")
    response = server.prediction.Regress(request, SECONDS)
    values = [r.value for r in response.result.regressions]
    np.testing.assert_allclose(values, probabilities.max(-1), atol=1e-6)


def test_grpc_metadata_and_status(server):
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        metadata_field=["signature_def"]
    )
    request.model_spec.name = "demo"
    response = server.prediction.GetModelMetadata(request, SECONDS)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    served = {"serving_default", "logits", "classify", "regress"}
    assert served <= set(signatures.signature_def)
    outputs = signatures.signature_def["serving_default"].outputs
    assert set(outputs) == {"probabilities", "confidence", "label", "entropy"}
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "demo"
    (version,) = server.models.GetModelStatus(status, SECONDS).model_version_status
    assert (version.version, version.state) == (1, version.AVAILABLE)


@pytest.mark.parametrize(
    "kwargs, code",
    [
        ({"signature": "nope"}, "FAILED_PRECONDITION"),
        ({"name": "other"}, "NOT_FOUND"),
        ({"version": 99}, "NOT_FOUND"),
        ({"key": "picture"}, "INVALID_ARGUMENT"),
        ({"only": ["nope"]}, "INVALID_ARGUMENT"),
        ({"x": IMAGES[:, :4]}, "INVALID_ARGUMENT"),
        ({"x": IMAGES[0]}, "INVALID_ARGUMENT"),
        ({"x": IMAGES.astype("float64")}, "INVALID_ARGUMENT"),
        ({"x": np.array([b"text"])}, "INVALID_ARGUMENT"),
        ({"signature": "classify", "key": "inputs", "x": [b"?"]}, "INVALID_ARGUMENT"),
    ],
)
def test_wrong_grpc_requests_get_clean_errors(server, kwargs, code):
    with pytest.raises(grpc.RpcError) as error:
        server.predict(**{"x": IMAGES} | kwargs)
    assert error.value.code().name == code
    assert error.value.details()
    server.predict(IMAGES[:1])  # and it keeps serving


def test_a_signature_of_another_kind_is_no_classification(server):
    request = examples_request(
        classification_pb2.ClassificationRequest, "serving_default"
    )
    with pytest.raises(grpc.RpcError) as error:
        server.prediction.Classify(request, SECONDS)
    assert error.value.code().name == "INVALID_ARGUMENT"


# REST.


@pytest.mark.parametrize("batch", [1, 2, 33])
def test_rest_rows_and_columns(server, probabilities, batch):
    x = IMAGES[:batch].tolist()
    status, answer = server.rest("demo:predict", {"instances": x})
    assert status == 200
    rows = answer["predictions"]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    assert_answers(columns, probabilities[:batch])
    status, answer = server.rest("demo:predict", {"inputs": {"image": x}})
    assert status == 200
    assert_answers(answer["outputs"], probabilities[:batch])


def test_rest_classify_and_regress(server, probabilities):
    examples = [{"image": x.ravel().tolist()} for x in IMAGES[:3]]
    body = {"signature_name": "classify", "examples": examples}
    _, answer = server.rest("demo:classify", body)
    names = [row[0][0] for row in answer["result"]]
    assert names == [NAMES[k] for k in probabilities[:3].argmax(-1)]
    _, answer = server.rest("demo:regress", body | {"signature_name": "regress"})
    np.testing.assert_allclose(answer["result"], probabilities[:3].max(-1), atol=1e-6)


def test_rest_status_and_metadata(server):
    _, status = server.rest("demo")
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    _, metadata = server.rest("demo/metadata")
    assert "logits" in metadata["metadata"]["signature_def"]["signature_def"]


@pytest.mark.parametrize(
    "path, body, code",
    [
        ("demo:predict", {"instances": [[1.0]]}, 400),
        ("demo:predict", {"instances": "text"}, 400),
        ("demo:predict", {"inputs": {"picture": [1.0]}}, 400),
        ("demo:predict", {}, 400),
        ("demo:predict", {"signature_name": "nope", "instances": [1]}, 412),
        ("other:predict", {"instances": [1]}, 404),
        ("demo/versions/9:predict", {"instances": [1]}, 404),
        ("demo//", {}, 400),
    ],
)
def test_wrong_rest_requests_get_clean_errors(server, path, body, code):
    status, answer = server.rest(path, body)
    assert status == code
    assert answer["error"]


# An independent client.


@pytest.mark.parametrize(
    ("make_client", "port", "reads_metadata"),
    [
        ("make_grpc_client", "grpc_port", True),
        # Over HTTP, it can only read metadata as its own server writes them.
        ("make_http_client", "rest_port", False),
    ],
    ids=["grpc", "http"],
)
def test_ovmsclient(server, probabilities, make_client, port, reads_metadata):
    ovmsclient = pytest.importorskip("ovmsclient", reason="needs ovmsclient")
    client = getattr(ovmsclient, make_client)(f"127.0.0.1:{getattr(server, port)}")
    assert client.get_model_status("demo", 1)[1]["state"] == "AVAILABLE"
    if reads_metadata:
        assert set(client.get_model_metadata("demo", 1)["inputs"]) == {"image"}
    for batch in (1, 2, 33):
        answer = client.predict({"image": IMAGES[:batch]}, "demo", 1)
        assert_answers(answer, probabilities[:batch])


# A new version.


def test_a_version_published_under_load_fails_no_request(tmp_path):
    first, second = network(temperature=1.0), network(temperature=2.0)
    export(first, tmp_path)
    p = {
        1: first.predict(IMAGES[:1], verbose=0),
        2: second.predict(IMAGES[:1], verbose=0),
    }
    server = Server(tmp_path)
    seen, errors, done = [], [], threading.Event()

    def ask():
        while not done.is_set():
            try:
                response = server.predict(IMAGES[:1])
                version = response.model_spec.version.value
                assert_answers(arrays(response), p[version])
                seen.append(version)
            except Exception as error:
                errors.append(error)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        assert export(second, tmp_path).name == "2"
        end = time.monotonic() + SECONDS
        while seen[-1:] != [2] and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        done.set()
        for client in clients:
            client.join()
        server.close()
    assert not errors
    assert set(seen) == {1, 2}
    assert len(seen) > 20
