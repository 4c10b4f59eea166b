"""Models that were trained, calibrated and published, shared by the slow tests."""

import pytest

import keras_calib
from keras_calib.serving import export
from tests.serving.tools import IMAGES, NAMES, labels, network


@pytest.fixture(scope="session")
def calibrated():
    """A model with a temperature on top."""
    model = network()
    return keras_calib.calibrate(model, IMAGES, labels(model), verbose=0)


@pytest.fixture(scope="session")
def published(calibrated, tmp_path_factory):
    """The folder of its first version."""
    base = tmp_path_factory.mktemp("published") / "demo"
    return export(calibrated, base, class_names=NAMES)


@pytest.fixture(scope="session")
def probabilities(calibrated):
    """What the model itself gives for `IMAGES`."""
    return calibrated.predict(IMAGES, verbose=0)
