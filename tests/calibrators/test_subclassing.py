"""Calibrators written as Keras's guides write layers: saved, copied and cloned."""

import copy
import pickle
from typing import Unpack

import keras
import numpy as np
import pytest
from keras import ops
from keras.ops import convert_to_numpy
from scipy.special import expit

from keras_calib.calibrators import Calibrator
from keras_calib.calibrators.base import CalibratorArguments
from keras_calib.calibrators.one_vs_rest import OneVsRest
from keras_calib.calibrators.steps import log_odds_of
from tests.calibrators import data

registered = keras.saving.register_keras_serializable(package="tests")


@registered
class Prior(Calibrator):
    """Mixes with the rates of the labels. It has no constructor."""

    def weight_shapes(self, num_classes):
        return {"rates": (num_classes,)}

    def adjust(self, samples):
        return {"rates": samples.weight @ samples.targets}

    def transform(self, z, rates):
        return (ops.softmax(z, axis=-1) + rates) / 2


@registered
class Power(OneVsRest):
    """The probability of each class to a given power."""

    def __init__(self, power, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def weight_shapes(self, num_classes):
        return {"factor": (self.num_maps(num_classes),)}

    def fit_class(self, d, target, weight):
        return (np.minimum(0.9, weight @ target / (weight @ expit(d))),)

    def map(self, d, factor):
        return log_odds_of(factor * ops.sigmoid(d) ** self.power)


@registered
class ScaledPower(Power):
    """A second level, whose configuration is written by hand."""

    def __init__(self, scales, power=2.0, **kwargs):
        super().__init__(power, **kwargs)
        self.by_class = dict(scales)

    def get_config(self):
        return {**super().get_config(), "scales": self.by_class}

    def map(self, d, factor):
        return self.by_class["all"] * super().map(d, factor)


@registered
class Square(Power):
    """A second level that fixes an argument of the first, and says what is left."""

    def __init__(self, **kwargs: Unpack[CalibratorArguments]):
        super().__init__(power=2.0, **kwargs)


@registered
class Cube(Power):
    """The same without a word of what is left."""

    def __init__(self, **kwargs):
        super().__init__(power=3.0, **kwargs)


MAKERS = {
    "no constructor": lambda: Prior(from_logits=True),
    "arguments": lambda: Power(0.5, name="power", min_probability=1e-9),
    "get_config": lambda: ScaledPower({"all": 0.5}, dtype="float64"),
    "two levels": lambda: Square(ignore_class=-1),
    "fixed": lambda: Cube(ignore_class=-1),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@every
@pytest.mark.parametrize("fitted", [True, False])
def test_the_configuration(make, fitted):
    layer = make()
    if fitted:
        layer.fit(*data.made(100, 3))
    other = type(layer).from_config(layer.get_config())
    assert other.get_config() == layer.get_config()
    assert repr(other) == repr(layer)


@every
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))],
    ids=["deepcopy", "pickle"],
)
@pytest.mark.parametrize("k", [2, 4])
def test_a_copy(make, copied, k):
    z, y = data.made(100, k)
    layer = make()
    with pytest.raises(ValueError, match="has not been fitted"):
        copied(layer)(z)
    layer.fit(z, y)
    other = copied(layer)
    np.testing.assert_array_equal(*map(convert_to_numpy, (other(z), layer(z))))
    assert other.get_config() == layer.get_config()
    # A copy is fitted apart.
    before = convert_to_numpy(layer(z))
    other.fit(z, (y + 1) % k)
    np.testing.assert_array_equal(convert_to_numpy(layer(z)), before)


@every
def test_a_model_saved_and_cloned(make, tmp_path):
    z, y = data.made(100, 4)
    z = z.astype("float32")
    inputs = keras.Input((4,))
    layer = make()
    model = keras.Model(inputs, layer(inputs))
    with pytest.raises(ValueError, match="has not been fitted"):
        model.predict(z, verbose=0)
    layer.fit(z, y)
    p = model.predict(z, verbose=0)
    np.testing.assert_allclose(p, convert_to_numpy(layer(z)), rtol=1e-5, atol=1e-7)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    with pytest.raises(ValueError, match="has not been fitted"):
        clone.predict(z, verbose=0)
    clone.set_weights(model.get_weights())
    for other in (loaded, clone, copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict(z, verbose=0), p)
        assert other.layers[-1].get_config() == layer.get_config()


def test_an_argument_that_is_not_kept_is_named():
    class Forgetful(Prior):
        def __init__(self, strength, **kwargs):
            super().__init__(**kwargs)

    with pytest.raises(TypeError, match=r"set self\.strength, or override get_config"):
        Forgetful(1.0).get_config()


def test_unknown_arguments_and_abstract_methods():
    with pytest.raises(TypeError, match="strenth"):
        Prior(strenth=1.0)
    with pytest.raises(TypeError, match="abstract"):
        Calibrator()
