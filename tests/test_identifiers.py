"""Configuration files can name losses, metrics and layers by their registered name."""

import inspect
import json

import keras
import numpy as np
import pytest

from keras_calib import GammaCE, calibrators, layers, losses, metrics
from tests.exports import exports

# Arguments of the classes that cannot be created without.
NEEDED = {
    "AlphaBalancedCE": {"alpha": [0.5, 1.5]},
    "CosineLogits": {"units": 3},
    "ExpectedAccuracyLoss": {"from_logits": True},
    "ForwardCorrectedCE": {"transition": [[0.75, 0.25], [0.0, 1.0]]},
    "GammaBCE": {"gamma": 0.1},
    "GammaCE": {"gamma": 0.1},
    "GradientWeightedCE": {"weight": "gce"},
    "Hyperparameter": {"value": 0.1},
    "LogitAdjustedCE": {"priors": [0.75, 0.25]},
}
CLASSES = {
    f"keras_calib>{name}": thing
    for room in (losses, metrics, calibrators, layers)
    for name, thing in exports(room).items()
    if inspect.isclass(thing)
    # Configuration files name no models.
    if not issubclass(thing, keras.Model)
    if keras.saving.get_registered_name(thing) == f"keras_calib>{name}"
}


def kind(thing):
    if issubclass(thing, keras.losses.Loss):
        return keras.losses
    return keras.metrics if issubclass(thing, keras.metrics.Metric) else keras.layers


def required(thing):
    parameters = list(inspect.signature(thing.__init__).parameters.values())[1:]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name for p in parameters if p.default is p.empty and p.kind in kinds}


def test_they_are_found():
    assert {"keras_calib>GammaCE", "keras_calib>BrierScore"} < set(CLASSES)
    assert {"keras_calib>TemperatureScaling", "keras_calib>CosineLogits"} < set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_by_name_and_configuration(name):
    thing = CLASSES[name]
    known = NEEDED.get(thing.__name__, {})
    assert required(thing) <= set(known), "add its arguments to NEEDED"
    one = thing(**known)
    config = one.get_config()
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(one)))
    assert written["registered_name"] == name
    for made in (
        kind(thing).deserialize({"class_name": name, "config": config}),
        kind(thing).deserialize(written),
        keras.saving.deserialize_keras_object(written),
    ):
        assert type(made) is thing
        assert made.get_config() == config
    assert keras.saving.get_registered_object(name) is thing


def test_a_model_is_compiled_from_plain_configuration():
    """A JSON or YAML file is enough; no class is imported by name."""
    settings = json.loads("""{
        "loss": {
            "class_name": "keras_calib>GammaCE",
            "config": {"gamma": 0.3, "from_logits": true}
        },
        "metric": {
            "class_name": "keras_calib>BrierScore", "config": {"from_logits": true}
        }
    }""")
    loss = keras.losses.get(settings["loss"])
    assert isinstance(loss, GammaCE)
    assert float(loss.gamma) == 0.3
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", loss, metrics=[keras.metrics.get(settings["metric"])])
    logs = model.evaluate(
        np.zeros((4, 4)), np.zeros(4, int), verbose=0, return_dict=True
    )
    assert "brier_score" in logs
    again = keras.Sequential.from_config(model.get_config())
    again.compile_from_config(model.get_compile_config())
    assert isinstance(again.loss, GammaCE)
    assert float(again.loss.gamma) == 0.3


def test_keras_takes_no_bare_name_of_another_package():
    """If this fails, Keras supports it now: say so in docs/support.md."""
    with pytest.raises(ValueError, match="Could not interpret loss identifier"):
        keras.losses.get("keras_calib>GammaCE")
