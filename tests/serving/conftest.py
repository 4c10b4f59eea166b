"""A calibrated model, its exported version and its predictions, for the slow tests."""

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
