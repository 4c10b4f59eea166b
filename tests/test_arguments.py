"""A class declares its own arguments once; they are kept, shown and checked."""

import copy
import inspect
from typing import Literal, TypedDict, Unpack

import keras
import numpy as np
import pytest

import keras_calib
from keras_calib import calibrators, losses, metrics
from keras_calib.arguments import (
    Configurable,
    Suggested,
    default_name,
    in_range,
    one_of,
    signature,
    whole_number,
)
from tests.exports import ROOMS, exports


def test_tools_read_the_constructors_of_layers_and_models():
    """Keras's classes have a `__new__` that takes anything."""
    for room in ROOMS:
        for thing in exports(room).values():
            if inspect.isclass(thing) and issubclass(thing, keras.Layer):
                kinds = {p.kind for p in thing.__signature__.parameters.values()}
                assert inspect.Parameter.VAR_KEYWORD not in kinds, thing


class Shared(TypedDict, total=False):
    flag: bool
    name: str | None


class Base(Configurable):
    """A base.

    Args:
        flag: whether it
            flies.
        fixed: what subclasses fix.
        name: its name.

    Raises:
        ValueError: for the base's reasons.
    """

    def __init__(self, *, fixed=0, flag=False, name=None):
        self.fixed, self.flag = fixed, flag
        self.name = name or default_name(type(self))


class GoCE(Base):
    """A class of its own.

    Args:
        strength: how strong it is.

    Raises:
        ValueError: for its own reasons.

    Example:

    >>> 1 + 1
    2
    """

    def __init__(self, strength: float = Suggested(0.1), **kwargs: Unpack[Shared]):
        super().__init__(fixed=7, **kwargs)
        self.strength = in_range("strength", strength, 0.0, 1.0)


class NoConstructor(GoCE):
    """Nothing new."""


class TwoLevels(GoCE):
    def __init__(self, extra=2, **kwargs):
        super().__init__(**kwargs)
        self.extra = extra


def test_signature_follows_the_chain_in_the_order_of_keras():
    expected = "(strength: float, *, flag=False, name=None)"
    assert str(inspect.signature(GoCE)) == expected
    assert str(inspect.signature(NoConstructor)) == expected
    # An argument that `**kwargs` passes on is keyword-only.
    two = "(extra=2, *, strength: float, flag=False, name=None)"
    assert str(inspect.signature(TwoLevels)) == two
    names = list(inspect.signature(losses.FocalCE).parameters)
    assert names[:2] == ["gamma", "alpha"]
    shared = ["from_logits", "ignore_class", "axis", "reduction", "name", "dtype"]
    assert names[-6:] == shared


def test_an_instance_has_the_signature_of_its_call():
    """jax.jit reads that signature to find `static_argnames`."""
    assert not hasattr(GoCE(0.3), "__signature__")
    parameters = inspect.signature(losses.GammaCE(0.1)).parameters
    assert list(parameters) == ["y_true", "y_pred", "sample_weight"]


def test_config_follows_the_chain():
    assert TwoLevels(strength=0.3, flag=True).get_config() == {
        "extra": 2,
        "strength": 0.3,
        "flag": True,
        "name": "two_levels",
    }


def test_an_argument_that_is_not_kept_is_named():
    class Forgets(GoCE):
        def __init__(self, lost=1, **kwargs):
            super().__init__(**kwargs)

    class Overrides(Forgets):
        def get_config(self):
            return {**super().get_config(), "lost": 1}

    with pytest.raises(TypeError, match=r"Forgets\.__init__ takes 'lost' and keeps"):
        Forgets(strength=0.5).get_config()
    assert Overrides(strength=0.5).get_config()["lost"] == 1
    assert "lost" not in repr(Forgets(strength=0.5))


def test_a_suggested_argument_must_be_given():
    with pytest.raises(ValueError, match="`strength` must be given: start with 0.1"):
        GoCE()
    assert GoCE(0.1).strength == 0.1


def test_docstring_includes_what_the_bases_say():
    expected = """A class of its own.

Args:
    strength: how strong it is.
    flag: whether it
        flies.
    name: its name.

Raises:
    ValueError: for its own reasons.
    ValueError: for the base's reasons.

Example:

>>> 1 + 1
2
"""
    assert GoCE.__doc__ == expected
    assert NoConstructor.__doc__.startswith("Nothing new.\n\nArgs:\n    strength: how")
    assert TwoLevels.__doc__ is None  # and `help` shows that of its base
    assert inspect.getdoc(TwoLevels) == inspect.getdoc(GoCE)


def test_text_shows_the_first_argument_and_what_is_not_the_default():
    assert repr(GoCE(0.1)) == "GoCE(strength=0.1)"
    shown = "GoCE(strength=0.1, flag=True, name='mine')"
    assert repr(GoCE(0.1, flag=True, name="mine")) == shown
    loss = keras_calib.GammaCE(0.1, from_logits=True)
    assert repr(loss) == "GammaCE(gamma=0.1, from_logits=True)"
    ece = keras_calib.ExpectedCalibrationError()
    assert repr(ece) == "ExpectedCalibrationError(num_bins=15)"
    assert repr(loss.gamma) == "Hyperparameter(gamma=0.1)"
    mae = losses.CategoricalMeanAbsoluteError()
    assert repr(mae) == "CategoricalMeanAbsoluteError()"


def public_classes():
    rooms = [losses, metrics, calibrators]
    things = {thing for room in rooms for thing in exports(room).values()}
    found = [t for t in things if inspect.isclass(t) and issubclass(t, Configurable)]
    return sorted(found, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", public_classes(), ids=lambda cls: cls.__name__)
def test_every_argument_is_shown_with_a_type(cls):
    for parameter in inspect.signature(cls).parameters.values():
        assert parameter.annotation is not parameter.empty, parameter
        assert parameter.kind is not parameter.VAR_KEYWORD


def test_signatures_are_computed_once():
    assert signature(losses.GammaCE) is signature(losses.GammaCE)


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, "many", True, None, np.nan])
def test_whole_numbers(value):
    with pytest.raises(ValueError, match="`n` must be a whole number >= 1. Received"):
        whole_number("n", value)


@pytest.mark.parametrize(
    "value", ["0.5", True, np.False_, None, np.nan, np.inf, -1.0, {0: 1.0}, [0.5]]
)
def test_numbers(value):
    with pytest.raises(ValueError, match="`x` must be a number at least 0. Received"):
        in_range("x", value, 0.0, np.inf)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5)])
def test_numbers_of_numpy(value):
    assert in_range("x", value, 0.0, 1.0) == 0.5
    assert losses.PolyLoss(value).epsilons == [0.5]
    assert losses.AlphaBalancedCE(value).alpha == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.AlphaBalancedCE({0: 1.0, 1: 19.0}), "`alpha` must be a number"),
        (lambda: losses.FocalCE(alpha="12"), "`alpha` must be a number"),
        (lambda: losses.PolyLoss("12"), r"`epsilons\[0\]` must be a number"),
        (
            lambda: calibrators.TemperatureScaling(bounds=3),
            "`bounds` must be 2 numbers",
        ),
        (
            lambda: losses.GradientHarmonizedBCE(2, 0.5, counts=3),
            "`counts` must be 2 numbers",
        ),
        (
            lambda: losses.GradientHarmonizedBCE(2, 0.5, counts=[-1.0, 0.0]),
            r"`counts\[0\]` must be a number at least 0",
        ),
        (
            lambda: losses.GradientHarmonizedBCE(2, counts=[1.0, 0.0]),
            "`counts` are the averages of a momentum above 0",
        ),
    ],
)
def test_several_numbers(make, message):
    if keras.backend.backend() == "jax" and "counts" in message:
        pytest.skip("on JAX GHM-C keeps no counts")
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("value", ["False", None, 2, 0.5])
def test_booleans(value):
    hot, p = np.eye(2), np.full((2, 2), 0.5)
    with pytest.raises(ValueError, match="must be True or False. Received"):
        calibrators.NoiseCorrection(0.1, inverse=value)
    with pytest.raises(ValueError, match="must be True or False. Received"):
        keras_calib.evaluate(hot, p, validate=value)
    if value is not None:
        with pytest.raises(ValueError, match="must be True or False. Received"):
            calibrators.TemperatureScaling(from_logits=value)
        with pytest.raises(ValueError, match="must be True or False. Received"):
            keras_calib.check(hot, p, from_logits=value)
        with pytest.raises(ValueError, match="must be True or False. Received"):
            keras_calib.check(hot, p, binary=value)


def test_whole_numbers_have_bounds_of_choice():
    assert whole_number("n", np.int64(3)) == 3
    assert whole_number("n", -5, low=-np.inf) == -5
    with pytest.raises(ValueError, match=r"`n` must be a whole number in \[2, 4\]"):
        whole_number("n", 5, 2, 4)
    with pytest.raises(ValueError, match=r"`n` must be a whole number\. Received: 0.5"):
        whole_number("n", 0.5, low=-np.inf)


def test_one_of_reads_its_choices_off_a_literal():
    choices = Literal["l1", "l2"]
    assert one_of("norm", "l2", choices) == "l2"
    with pytest.raises(ValueError, match="`norm` must be one of 'l1', 'l2'. Received"):
        one_of("norm", "l3", choices)
    assert one_of("norm", 1, (1, 2)) == 1


def test_copies_of_what_is_configurable():
    first = TwoLevels(strength=0.2)
    assert copy.deepcopy(first).get_config() == first.get_config()
