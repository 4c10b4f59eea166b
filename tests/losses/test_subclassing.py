"""The bases subclassed as Keras's guides do it: saved, copied and cloned."""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import GammaBCE, GammaCE, GradientWeightedCE
from keras_calib.losses import BinaryLoss, CalibrationLoss, ClassLoss, TrueClassLoss
from tests.losses.tools import per_sample

register = keras.saving.register_keras_serializable(package="tests.subclassing")


@register
class Scaled(TrueClassLoss):
    """A loss with an argument of its own."""

    def __init__(self, strength, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength

    def value(self, log_p, p, q):
        return self.strength * q

    def weight(self, log_p, p, q):
        return self.strength * p


@register
class Plain(TrueClassLoss):
    """A loss with no constructor."""

    def value(self, log_p, p, q):
        return q

    def weight(self, log_p, p, q):
        return p


@register
class Overridden(Scaled):
    """A loss of a second level, whose get_config is its own."""

    def __init__(self, strength, shift=0.0, **kwargs):
        super().__init__(strength, **kwargs)
        self._hidden = shift

    def value(self, log_p, p, q):
        return super().value(log_p, p, q) + self._hidden

    def get_config(self):
        return {**super().get_config(), "shift": self._hidden}


@register
class Fixed(GammaCE):
    """A loss that fixes an argument of its base, which a callback may move."""

    def __init__(self, **kwargs):
        super().__init__(gamma=0.5, **kwargs)


@register
class FixedInOrder(Scaled):
    """A loss that fixes an argument by its position, and one that its user names."""

    def __init__(self, **kwargs):
        super().__init__(2.0, from_logits=True, **kwargs)


@register
class Brier(ClassLoss):
    """A loss of a whole batch of classes."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def sample_losses(self, batch):
        return self.factor * batch.squared_error


@register
class Labels(BinaryLoss):
    """A loss of independent labels."""

    def __init__(self, strength=1.0, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength

    def value(self, log_p, p, q):
        return self.strength * q

    def weight(self, log_p, p, q):
        return self.strength * p


@register
class Absolute(CalibrationLoss):
    """A loss that reads its tensors itself, with a number that moves."""

    def __init__(self, power, **kwargs):
        super().__init__(**kwargs)
        self.power = self.hyperparameter("power", power)

    def call(self, y_true, y_pred):
        error = ops.abs(y_true - y_pred)
        return ops.sum(error ** self.power.tensor(self.dtype), axis=-1)


LOSSES = {
    "true_class": lambda: Scaled(2.0, from_logits=True, ignore_class=7),
    "no_constructor": lambda: Plain(from_logits=True),
    "two_levels": lambda: Overridden(2.0, shift=0.5, from_logits=True, name="mine"),
    "fixed": lambda: Fixed(from_logits=True, name="mine"),
    "fixed_in_order": lambda: FixedInOrder(ignore_class=7),
    "class": lambda: Brier(2.0, from_logits=True),
    "binary": lambda: Labels(2.0, from_logits=True, label_reduction="sum"),
    "calibration": lambda: Absolute(1.5, reduction="sum"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_saved_copied_and_cloned(name, tmp_path):
    loss = LOSSES[name]()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)).astype("float32"), rng.integers(0, 2, (8, 3))
    y = y.astype("float32") if isinstance(loss, BinaryLoss | Absolute) else y[:, 0]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", loss)
    model.fit(x, y, verbose=0)
    expected = model.evaluate(x, y, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.evaluate(x, y, verbose=0) == expected
    clone = keras.models.clone_model(model)
    clone.compile_from_config(model.get_compile_config())
    by_name = {"class_name": keras.saving.get_registered_name(type(loss))}
    others = [
        loaded.loss,
        clone.loss,
        copy.copy(loss),
        copy.deepcopy(loss),
        pickle.loads(pickle.dumps(loss)),
        keras.losses.get(by_name | {"config": loss.get_config()}),
    ]
    for other in others:
        assert type(other) is type(loss)
        assert other is not loss
        assert other.get_config() == loss.get_config()
        np.testing.assert_array_equal(per_sample(other, y, x), per_sample(loss, y, x))


def test_an_argument_that_is_not_kept_is_named():
    class Forgetful(Plain):
        def __init__(self, strength=1.0, **kwargs):
            super().__init__(**kwargs)

    with pytest.raises(TypeError, match="takes 'strength' and .*: set self.strength"):
        Forgetful().get_config()

    class Remembers(Forgetful):
        def get_config(self):
            return {**super().get_config(), "strength": 1.0}

    assert Remembers().get_config()["strength"] == 1.0


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (Scaled, {"from_logit": True}),
        (Scaled, {"strenght": 1.0}),
        (GammaCE, {"label_reduction": "sum"}),
        (GammaBCE, {"ignore_class": -1}),
        (Labels, {"ignore_class": -1}),
    ],
)
def test_an_argument_that_the_loss_does_not_take_is_refused(cls, wrong):
    with pytest.raises(TypeError, match=next(iter(wrong))):
        cls(0.5, **wrong)


def test_what_a_constructor_fixes_may_move():
    loss = Fixed()
    loss.gamma = 0.3
    for other in (copy.deepcopy(loss), Fixed.from_config(loss.get_config())):
        assert float(other.gamma) == 0.3
    with pytest.raises(TypeError, match="multiple values .* 'gamma'"):
        Fixed(gamma=0.3)


def test_a_copy_moves_by_itself():
    loss = GammaCE(0.1)
    for other in (copy.copy(loss), copy.deepcopy(loss)):
        other.gamma = 0.3
        assert float(loss.gamma) == 0.1


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (GammaCE(0.1), "GammaCE(gamma=0.1)"),
        (Fixed(), "Fixed(gamma=0.5)"),
        (GammaCE(0.1, from_logits=True), "GammaCE(gamma=0.1, from_logits=True)"),
        (Scaled(2.0, name="mine"), "Scaled(strength=2.0, name='mine')"),
        (GradientWeightedCE("gce"), "GradientWeightedCE(weight='gce', parameter=0.7)"),
        (Plain(axis=1, dtype="float64"), "Plain(axis=1, dtype='float64')"),
    ],
)
def test_repr_shows_what_was_said(loss, expected):
    assert repr(loss) == expected


def test_positional_arguments_may_be_handed_on():
    class Handed(GammaCE):
        def __init__(self, *args, k=1, **kwargs):
            super().__init__(*args, **kwargs)
            self.k = k

    loss = Handed(0.3, k=2)
    config = loss.get_config()
    assert (config["gamma"], config["k"]) == (0.3, 2)
    assert Handed.from_config(config).get_config() == config
