"""What the slow tests share: a calibrated model, its version, and a C++ program."""

import shutil
import subprocess
from pathlib import Path

import pytest

import keras_calib
from keras_calib.serving import export
from tests.serving.tools import IMAGES, NAMES, labels, network


@pytest.fixture(scope="session")
def calibrated():
    """Returns a model with a temperature on top."""
    model = network()
    return keras_calib.calibrate(model, IMAGES, labels(model), verbose=0)


@pytest.fixture(scope="session")
def published(calibrated, tmp_path_factory):
    """Returns the folder of its first version."""
    base = tmp_path_factory.mktemp("published") / "demo"
    return export(calibrated, base, class_names=NAMES)


@pytest.fixture(scope="session")
def probabilities(calibrated):
    """Returns what the model itself predicts for `IMAGES`."""
    return calibrated.predict(IMAGES, verbose=0)


@pytest.fixture(scope="module")
def model():
    """Returns a model that is not calibrated."""
    return network()


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """Builds serve.cc against the libraries in the installed wheel."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++ to build the C++ program with")
    import tensorflow as tf

    wheel = Path(tf.__file__).parent
    program = tmp_path_factory.mktemp("program") / "serve"
    command = [
        *("g++", "-std=c++17", "-O1", "-w", f"-I{wheel / 'include'}"),
        *(str(Path(__file__).with_name("serve.cc")), "-o", str(program)),
        *(f"-L{wheel}", f"-Wl,-rpath,{wheel}", "-Wl,--no-as-needed"),
        *("-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"),
    ]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    return program
