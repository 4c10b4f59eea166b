"""The Python code and the commands of the serving guide work."""

import json
import re
from pathlib import Path

import keras
import pytest

from keras_calib.serving import export
from tests.backends import tensorflow_only
from tests.serving.test_server import Server

pytestmark = [pytest.mark.slow, tensorflow_only]
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "serving.md"


def test_the_guide_runs(tmp_path, monkeypatch):
    for package in ("grpc", "tensorflow_serving", "ovmsclient"):
        pytest.importorskip(package, reason=f"the guide needs {package}")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall("```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    names, server = {}, None
    try:
        for block in blocks:
            if "localhost:8500" in block and server is None:
                server = Server(tmp_path / "models" / "flowers", "flowers")
            if server is not None:
                block = block.replace("localhost:8500", f"127.0.0.1:{server.grpc_port}")
            exec(compile(block, str(GUIDE), "exec"), names)
    finally:
        if server is not None:
            server.close()
    assert names["folder"].name == "1"
    assert names["differences"]["probabilities"] < 1e-6
    assert set(names["response"].outputs) >= {"probabilities", "label"}
    assert (tmp_path / "flowers.tflite").stat().st_size > 0


def test_the_commands_of_the_guide_are_answered(tmp_path):
    """A server accepts the bodies of its curl commands."""
    bodies = re.findall(
        r"curl -d '(.*?)' \\\n\s+\S+/v1/models/(\S+)", GUIDE.read_text()
    )
    assert len(bodies) == 2
    model = keras.Sequential(
        [keras.Input((4,), name="flower"), keras.layers.Dense(3, activation="softmax")]
    )
    export(model, tmp_path, class_names=["daisy", "iris", "rose"])
    server = Server(tmp_path, "flowers")
    try:
        for body, path in bodies:
            status, answer = server.rest(path, json.loads(body))
            assert status == 200, answer
    finally:
        server.close()
