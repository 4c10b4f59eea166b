"""A test server with the API of TensorFlow Serving, over gRPC and REST.

`tensorflow_model_server` is not on PyPI. This server replaces it: it uses the official
messages and services and the same C++ loader, makes the same checks, and words its
errors in the same way. It imports neither TensorFlow's Python code nor Keras.

    python -m tests.serving.server FOLDER NAME

It prints "READY <gRPC port> <REST port>", then serves the newest version in FOLDER
until its standard input ends.
"""

import base64
import importlib.util
import json
import os
import re
import struct
import sys
import threading
import types
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np

# The modules of messages are in a package whose own code must not run.
package = types.ModuleType("tensorflow")
package.__path__ = [
    os.path.join(
        os.path.dirname(importlib.util.find_spec("numpy").origin), "..", "tensorflow"
    )
]
sys.modules["tensorflow"] = package

from google.protobuf import json_format  # noqa: E402
from tensorflow.core.framework import tensor_pb2, types_pb2  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tests.serving.c_loader import NUMPY, STRING, SavedModel, TensorFlowError  # noqa

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
FAILED = grpc.StatusCode.FAILED_PRECONDITION
CODES = {code.value[0]: code for code in grpc.StatusCode}
HTTP = {INVALID: 400, NOT_FOUND: 404, FAILED: 412}

VALUES = {
    STRING: "string_val",
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT8: "int_val",
}


class ServingError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def to_numpy(proto):
    shape = [d.size for d in proto.tensor_shape.dim]
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, NUMPY[proto.dtype]).reshape(shape)
    values = list(getattr(proto, VALUES[proto.dtype]))
    size = int(np.prod(shape))
    values += values[-1:] * (size - len(values))  # the last value is repeated
    array = np.empty(size, object if proto.dtype == STRING else NUMPY[proto.dtype])
    array[:] = values
    return array.reshape(shape)


def to_proto(array, dtype):
    proto = tensor_pb2.TensorProto(dtype=dtype)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, VALUES[dtype]).extend(array.ravel().tolist())
    return proto


class Version:
    """One version of the model, which answers the requests of the services."""

    def __init__(self, path, number):
        self.number = number
        try:
            self.model = SavedModel(path)
        except TensorFlowError as error:
            raise ServingError(CODES[error.code], str(error)) from None
        self.warm_up(os.path.join(path, "assets.extra", "tf_serving_warmup_requests"))

    def warm_up(self, path):
        if not os.path.exists(path):
            return
        with open(path, "rb") as file:
            while head := file.read(12):  # a TFRecord: length, its CRC, data, CRC
                (length,) = struct.unpack("<Q", head[:8])
                log = prediction_log_pb2.PredictionLog.FromString(file.read(length))
                file.read(4)
                self.predict(log.predict_log.request)

    def signature(self, name, code=FAILED):
        name = name or "serving_default"
        if name not in self.model.signatures:
            raise ServingError(code, f'Serving signature key "{name}" not found.')
        return name, self.model.signatures[name]

    def run(self, name, inputs, keys):
        try:
            return self.model(name, inputs, keys)
        except TensorFlowError as error:
            raise ServingError(CODES[error.code], str(error)) from None

    def predict(self, request):
        name, signature = self.signature(request.model_spec.signature_name)
        sent, wanted = set(request.inputs), set(signature.inputs)
        if sent != wanted:
            raise ServingError(
                INVALID,
                f"input size does not match signature. Sent extra: {sent - wanted}. "
                f"Missing but required: {wanted - sent}.",
            )
        for key, proto in request.inputs.items():
            if proto.dtype != signature.inputs[key].dtype:
                raise ServingError(
                    INVALID,
                    f"input {key} must be of type {signature.inputs[key].dtype}, "
                    f"not {proto.dtype}",
                )
        keys = list(request.output_filter) or list(signature.outputs)
        if unknown := set(keys) - set(signature.outputs):
            raise ServingError(
                INVALID, f"output tensor alias not found in signature: {unknown}"
            )
        inputs = {key: to_numpy(proto) for key, proto in request.inputs.items()}
        response = self.answering(predict_pb2.PredictResponse(), request)
        for key, value in self.run(name, inputs, keys).items():
            proto = to_proto(value, signature.outputs[key].dtype)
            response.outputs[key].CopyFrom(proto)
        return response

    def classify(self, request):
        outputs, count = self.run_examples(request, {"classes", "scores"})
        if any(
            value.shape[0] != count or value.ndim != 2 for value in outputs.values()
        ):
            raise ServingError(INVALID, "Expected shape: [batch_size num_classes]")
        response = self.answering(classification_pb2.ClassificationResponse(), request)
        for labels, scores in zip(outputs["classes"], outputs["scores"], strict=True):
            classes = response.result.classifications.add().classes
            for label, score in zip(labels, scores, strict=True):
                classes.add(label=label, score=score)
        return response

    def regress(self, request):
        outputs, count = self.run_examples(request, {"outputs"})
        if outputs["outputs"].shape not in ((count,), (count, 1)):
            raise ServingError(
                INVALID, "Expected shape: [batch_size] or [batch_size 1]"
            )
        response = self.answering(regression_pb2.RegressionResponse(), request)
        for value in outputs["outputs"].ravel():
            response.result.regressions.add(value=value)
        return response

    def run_examples(self, request, keys):
        name, signature = self.signature(request.model_spec.signature_name, INVALID)
        if set(signature.inputs) != {"inputs"} or set(signature.outputs) != keys:
            raise ServingError(INVALID, f"{name} takes no Examples for {sorted(keys)}")
        examples = request.input.example_list.examples
        if not examples:
            raise ServingError(INVALID, "Input is empty.")
        inputs = np.array([e.SerializeToString() for e in examples], object)
        return self.run(name, {"inputs": inputs}, keys), len(examples)

    def answering(self, response, request):
        response.model_spec.name = request.model_spec.name
        response.model_spec.signature_name = request.model_spec.signature_name
        response.model_spec.version.value = self.number
        return response


class Core:
    """Watches the folder; loads a new version, then drops the old one."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.versions, self.failed = {}, {}
        self.poll()

    def poll(self):
        numbers = [int(n) for n in os.listdir(self.folder) if re.fullmatch("[0-9]+", n)]
        newest = max(numbers, default=None)
        if newest is None or newest in self.versions or newest in self.failed:
            return
        try:
            version = Version(os.path.join(self.folder, str(newest)), newest)
            self.versions = {newest: version}
        except ServingError as error:
            self.failed[newest] = error

    def version(self, spec):
        versions = self.versions
        wanted = (
            spec.version.value if spec.HasField("version") else max(versions, default=0)
        )
        if spec.name != self.name or wanted not in versions:
            raise ServingError(
                NOT_FOUND, f"Servable not found for request: {spec.name} {wanted}"
            )
        return versions[wanted]

    def predict(self, request):
        return self.version(request.model_spec).predict(request)

    def classify(self, request):
        return self.version(request.model_spec).classify(request)

    def regress(self, request):
        return self.version(request.model_spec).regress(request)

    def metadata(self, request):
        version = self.version(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = version.number
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in version.model.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(self, request):
        if request.model_spec.name != self.name:
            raise ServingError(NOT_FOUND, "Could not find any versions of the model")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in self.versions:
            response.model_version_status.add(
                version=number, state="AVAILABLE"
            ).status.SetInParent()
        for number, error in self.failed.items():
            status = response.model_version_status.add(version=number, state="END")
            status.status.error_code = error.code.value[0]
            status.status.error_message = str(error)
        return response


def rpc(method):
    def answer(self, request, context):
        try:
            return getattr(self.core, method)(request)
        except ServingError as error:
            context.abort(error.code, str(error))

    return answer


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, core):
        self.core = core

    Predict = rpc("predict")
    Classify = rpc("classify")
    Regress = rpc("regress")
    GetModelMetadata = rpc("metadata")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, core):
        self.core = core

    GetModelStatus = rpc("status")


def plain(value):
    return value.decode() if isinstance(value, bytes) else value


def from_json(value, dtype):
    def read(x):
        if isinstance(x, list):
            return [read(y) for y in x]
        return base64.b64decode(x["b64"]) if isinstance(x, dict) else x.encode()

    try:
        if dtype == STRING:
            return np.array(read(value), object)
        return np.array(value, NUMPY[dtype])
    except (ValueError, TypeError, AttributeError) as error:
        raise ServingError(INVALID, f"Tensor of wrong shape or type: {error}") from None


def rest_predict(version, request, body):
    """Answers a request in row format ("instances") or column format ("inputs")."""
    request.model_spec.signature_name = body.get("signature_name", "")
    _, signature = version.signature(request.model_spec.signature_name)
    if ("instances" in body) == ("inputs" in body):
        raise ServingError(INVALID, "Missing 'inputs' or 'instances' key")
    rows = "instances" in body
    given = body["instances"] if rows else body["inputs"]
    if rows and isinstance(given[0], dict):
        given = {key: [row[key] for row in given] for key in given[0]}
    if not isinstance(given, dict):
        given = {next(iter(signature.inputs)): given}
    for key, value in given.items():
        if key not in signature.inputs:
            raise ServingError(INVALID, f"No such input: {key}")
        dtype = signature.inputs[key].dtype
        request.inputs[key].CopyFrom(to_proto(from_json(value, dtype), dtype))
    response = version.predict(request)
    outputs = {k: to_numpy(v) for k, v in response.outputs.items()}
    outputs = {
        k: np.vectorize(plain, otypes="O")(v).tolist() for k, v in outputs.items()
    }
    if len(outputs) == 1:
        (value,) = outputs.values()
        return {"predictions" if rows else "outputs": value}
    if not rows:
        return {"outputs": outputs}
    each = zip(*outputs.values(), strict=True)
    return {"predictions": [dict(zip(outputs, row, strict=True)) for row in each]}


def rest_examples(request, body):
    request.model_spec.signature_name = body.get("signature_name", "")
    for row in body["examples"]:
        feature = request.input.example_list.examples.add().features.feature
        for key, values in row.items():
            values = values if isinstance(values, list) else [values]
            if isinstance(values[0], str):
                feature[key].bytes_list.value.extend(v.encode() for v in values)
            elif any(isinstance(v, float) for v in values):
                feature[key].float_list.value.extend(values)
            else:
                feature[key].int64_list.value.extend(values)
    return request


class Handler(BaseHTTPRequestHandler):
    core = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.reply(lambda spec, verb: self.get(spec, verb))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(lambda spec, verb: self.post(spec, verb, json.loads(body)))

    def get(self, spec, verb):
        if verb == "/metadata":
            request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec)
            message = self.core.metadata(request)
        else:
            request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
            message = self.core.status(request)
        return json_format.MessageToDict(
            message,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )

    def post(self, spec, verb, body):
        version = self.core.version(spec)
        if verb == ":predict":
            request = predict_pb2.PredictRequest(model_spec=spec)
            return rest_predict(version, request, body)
        if verb == ":classify":
            request = classification_pb2.ClassificationRequest(model_spec=spec)
            result = version.classify(rest_examples(request, body)).result
            rows = [
                [[c.label, c.score] for c in r.classes] for r in result.classifications
            ]
            return {"result": rows}
        request = regression_pb2.RegressionRequest(model_spec=spec)
        result = version.regress(rest_examples(request, body)).result
        return {"result": [r.value for r in result.regressions]}

    def reply(self, answer):
        pattern = r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata|:\w+)?"
        code = 200
        try:
            match = re.fullmatch(pattern, self.path)
            if not match:
                raise ServingError(INVALID, f"Malformed request: {self.path}")
            spec = predict_pb2.PredictRequest().model_spec
            spec.name = match[1]
            if match[2]:
                spec.version.value = int(match[2])
            content = answer(spec, match[3])
        except ServingError as error:
            code, content = HTTP.get(error.code, 500), {"error": str(error)}
        except json.JSONDecodeError as error:
            code, content = 400, {"error": f"JSON Parse error: {error}"}
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main(folder, name):
    core = Core(folder, name)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(core), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelService(core), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    Handler.core = core
    rest = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    assert not {"keras", "keras_calib", "tensorflow.python"} & set(sys.modules)
    print("READY", port, rest.server_port, flush=True)
    ended = threading.Event()
    threading.Thread(
        target=lambda: (sys.stdin.read(), ended.set()), daemon=True
    ).start()
    while not ended.wait(0.1):
        core.poll()


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # other threads still run sessions
