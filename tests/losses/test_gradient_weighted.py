"""Losses from their gradient weight: the same gradients as the losses themselves."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import (
    CategoricalMeanAbsoluteError,
    ExpectedAccuracyLoss,
    FocalCE,
    GammaCE,
    GeneralizedCE,
    GradientWeightedCE,
    PolyLoss,
)
from keras_calib.losses import TrueClassLoss
from keras_calib.ops import NAMED_WEIGHTS
from tests.losses.tools import per_sample, value_and_gradient

KWARGS = {"from_logits": True, "dtype": "float64"}


class PartiallyHuberized(TrueClassLoss):
    """The loss of the paper: cross-entropy, and below p = 1 / 10 its tangent."""

    def value(self, log_p, p, q):
        return ops.where(p >= 0.1, -log_p, 1.0 - 10.0 * p + np.log(10.0))

    def weight(self, log_p, p, q):
        return ops.where(p >= 0.1, 1.0, 10.0 * p)


# name, parameter, the loss that has this weight, and the weight as a user writes it.
PAIRS = [
    ("accuracy", None, ExpectedAccuracyLoss("gumbel", **KWARGS), lambda p: p / p),
    ("cross_entropy", None, GammaCE(0.0, **KWARGS), lambda p: 1 / p),
    ("mae", None, CategoricalMeanAbsoluteError(**KWARGS), lambda p: 2 * p / p),
    ("gamma", 0.1, GammaCE(0.1, **KWARGS), lambda p: 1 / (0.1 + 0.9 * p)),
    ("gce", 0.7, GeneralizedCE(0.7, **KWARGS), lambda p: p**-0.3),
    (
        "focal",
        2.0,
        FocalCE(2.0, **KWARGS),
        lambda p: (1 - p) ** 2 / p - 2 * (1 - p) * ops.log(p),
    ),
    ("poly", 1.0, PolyLoss(1.0, **KWARGS), lambda p: 1 / p + 1),
    (
        "phuber",
        10.0,
        PartiallyHuberized(**KWARGS),
        lambda p: ops.where(p < 0.1, 10.0, 1 / p),
    ),
    (
        "threshold",
        0.1,
        GeneralizedCE(0.0, truncation=0.1, **KWARGS),
        lambda p: ops.where(p > 0.1, 1 / p, 0.0),
    ),
]


@pytest.fixture
def logits():
    return np.random.default_rng(3).normal(0, 3, (40, 6))


@pytest.fixture
def labels():
    return np.random.default_rng(4).integers(0, 6, 40)


def test_every_name_is_tested():
    assert {name for name, *_ in PAIRS} == set(NAMED_WEIGHTS)
    for name, parameter, *_ in PAIRS:
        assert NAMED_WEIGHTS[name].parameter == parameter


@pytest.mark.parametrize(("name", "parameter", "loss", "weight"), PAIRS)
def test_gradient_is_that_of_the_loss(name, parameter, loss, weight, logits, labels):
    _, expected = value_and_gradient(loss, labels, logits, "float64")
    for form in (
        GradientWeightedCE(name, parameter, **KWARGS),
        GradientWeightedCE(name, **KWARGS),
        GradientWeightedCE(weight, **KWARGS),
    ):
        _, gradient = value_and_gradient(form, labels, logits, "float64")
        np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-16)


@pytest.mark.parametrize(("name", "parameter", "loss", "weight"), PAIRS)
def test_formula_is_the_weight(name, parameter, loss, weight):
    """What the table prints for a reader, evaluated."""
    p = np.linspace(0.01, 0.99, 50)
    named = NAMED_WEIGHTS[name]
    formula = named.formula.replace("(1 - gamma) p", "(1 - gamma) * p")
    formula = formula.replace("gamma (1 - p)", "gamma * (1 - p)")
    formula = formula.replace(") log p", ") * log(p)")
    names = {"p": p, "log": np.log, "gamma": parameter, "q": parameter}
    formula = formula.replace("min(1, tau p)", "minimum(1, tau * p)")
    more = dict.fromkeys(("epsilon", "tau", "threshold"), parameter)
    more["minimum"] = np.minimum
    expected = eval(formula, {**names, **more})
    arguments = () if parameter is None else (parameter,)
    x = [ops.convert_to_tensor(v, "float64") for v in (np.log(p), p, 1 - p)]
    got = ops.convert_to_numpy(named.weight(*x, *arguments)) / p
    np.testing.assert_allclose(got, np.broadcast_to(expected, 50), rtol=1e-13)


def test_value_is_the_stop_gradient_construction():
    p = np.array([[0.3, 0.7]])
    loss = GradientWeightedCE(lambda p: p**2, dtype="float64")
    expected = -(0.3 * 0.3**2) * np.log(0.3)
    assert per_sample(loss, [0], p)[0] == pytest.approx(expected, rel=1e-14)


def test_value_is_no_monitor():
    """At w = 1 the value is small for samples that are all wrong."""
    loss = GradientWeightedCE("accuracy")
    assert float(loss([0], [[1e-6, 1 - 1e-6]])) < 2e-5


@keras.saving.register_keras_serializable(package="tests")
def square_root(p):
    return 1 / ops.sqrt(p)


def test_a_registered_function_is_saved(tmp_path, logits, labels):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
    model.compile("sgd", GradientWeightedCE(square_root, from_logits=True))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.loss.get_config() == model.loss.get_config()
    assert loaded.loss.get_config()["weight"] is square_root
    x = logits.astype("float32")
    assert loaded.evaluate(x, labels, verbose=0) == pytest.approx(
        model.evaluate(x, labels, verbose=0)
    )


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (("entropy",), "function of p or one of 'accuracy', .*Received: 'entropy'"),
        ((3.0,), "function of p or one of .*Received: 3.0"),
        (("gamma", 1.5), r"`parameter` must be a number in \[0, 1\]. Received: 1.5"),
        (("accuracy", 1.0), "takes no parameter. Received: parameter=1.0"),
        ((square_root, 1.0), "takes no parameter. Received: parameter=1.0"),
    ],
)
def test_bad_arguments(args, match):
    with pytest.raises(ValueError, match=match):
        GradientWeightedCE(*args)
