"""Every calibrator gives the same answers in other runtimes.

One model has them all as outputs, so that each converter runs once.
"""

import subprocess

import keras
import numpy as np
import pytest

from keras_calib.calibrators import IsotonicCalibration
from keras_calib.calibrators.methods import METHODS
from tests.backends import tensorflow_only
from tests.calibrators import data
from tests.serving.tools import by_litert, by_onnx_runtime, by_openvino, parsed

pytestmark = [pytest.mark.slow, tensorflow_only]

Z, Y = data.made(400, 5)
ROWS = Z[:33].astype("float32")
# Of all sizes from 2 to 64, one failed in LiteRT: a clip to [0, 6] became a ReLU6.
SIZES = (2, 3, 7, 8, 9, 16, 64)


def isotonic(size):
    """Returns a layer of two classes whose table has a size."""
    rng = np.random.default_rng(size)
    layer = IsotonicCalibration(size, from_logits=True)
    layer.build((None, 2))
    knots, values = 2 * rng.normal(size=(1, size)), rng.uniform(size=(1, size))
    layer.set_weights([np.sort(knots), np.sort(values)])
    return layer


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Returns the folder of a SavedModel, and what it should answer."""
    z = keras.Input((5,), name="z")
    outputs = {name: make().fit(Z, Y)(z) for name, make in METHODS.items()}
    outputs |= {f"isotonic_{size}": isotonic(size)(z[:, :2]) for size in SIZES}
    model = keras.Model(z, outputs)
    folder = tmp_path_factory.mktemp("every") / "1"
    model.export(folder, verbose=False)
    return folder, {k: v.numpy() for k, v in model(ROWS).items()}


def assert_same(found, expected):
    """Between steep steps of a table a rounding of the log-odds is larger."""
    assert set(found) == set(expected)
    for name, p in expected.items():
        atol = 2e-5 if name.startswith("isotonic") else 2e-6
        np.testing.assert_allclose(found[name], p, rtol=0, atol=atol, err_msg=name)


def test_the_cpp_loader(exported, program):
    folder, expected = exported
    done = subprocess.run(
        [program, folder, "serving_default", "z", *map(str, ROWS.shape)],
        input=ROWS.tobytes(),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    found = parsed(done.stdout.decode())
    assert_same({k: v.reshape(expected[k].shape) for k, v in found.items()}, expected)


def test_litert(exported):
    folder, expected = exported
    assert_same(by_litert(folder, z=ROWS), expected)


def test_openvino(exported):
    folder, expected = exported
    assert_same(by_openvino(folder, expected, z=ROWS), expected)


def test_onnx_runtime(exported, tmp_path):
    folder, expected = exported
    assert_same(by_onnx_runtime(folder, tmp_path / "model.onnx", z=ROWS), expected)
