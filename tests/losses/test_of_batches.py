"""What is true of every loss whose value of a sample depends on the whole batch."""

import copy
import functools
import pickle
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from tests.backends import every_compiler
from tests.losses.table import OF_A_BATCH
from tests.losses.tools import GRADIENT, per_sample, value_and_gradient


class Batch(NamedTuple):
    """What makes a loss, and a batch for it."""

    make: Callable[..., keras.losses.Loss]
    labels: np.ndarray
    predictions: np.ndarray


@pytest.fixture(params=OF_A_BATCH)
def row(request):
    row = OF_A_BATCH[request.param]
    return Batch(functools.partial(row, from_logits=True), *row.batch())


def test_one_value_a_sample(row):
    values = per_sample(row.make(dtype="float64"), row.labels, row.predictions)
    assert values.shape == row.labels.shape[: values.ndim]
    loss = row.make(dtype="float64")(row.labels, row.predictions)
    assert float(loss) == pytest.approx(values.mean(), rel=1e-13)


def test_gradient_is_that_of_finite_differences(row):
    loss, z, step = row.make(dtype="float64", reduction="sum"), row.predictions, 1e-6
    _, gradient = value_and_gradient(loss, row.labels, z, "float64")
    directions = np.random.default_rng(0).normal(size=(3, *z.shape))
    for direction in directions:
        up, down = (
            per_sample(loss, row.labels, z + side * step * direction).sum()
            for side in (1, -1)
        )
        slope = (gradient * direction).sum()
        assert slope == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-8)


@every_compiler
def test_compiled_agrees_with_eager(row, compiler):
    loss = row.make(reduction=None)
    eager = value_and_gradient(loss, row.labels, row.predictions, "float32")
    step = compiler(functools.partial(GRADIENT, loss))
    z = ops.convert_to_tensor(row.predictions, "float32")
    for a, b in zip(step(ops.convert_to_tensor(row.labels), z), eager, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_at_extreme_scores(row, dtype):
    z = np.where(row.predictions > 0, 1e4, -1e4)
    loss = row.make(dtype=dtype, reduction=None)
    for x in value_and_gradient(loss, row.labels, z, dtype):
        assert np.isfinite(x).all()


def test_copies_give_the_same_loss(row):
    loss = row.make(dtype="float64", reduction="sum", name="mine")
    expected = float(loss(row.labels, row.predictions))
    serialized = keras.saving.serialize_keras_object(loss)
    for other in (
        keras.saving.deserialize_keras_object(serialized),
        pickle.loads(pickle.dumps(loss)),
        copy.deepcopy(loss),
    ):
        assert type(other) is type(loss)
        assert other.get_config() == loss.get_config()
        assert float(other(row.labels, row.predictions)) == expected


def test_shapes_that_do_not_fit(row):
    with pytest.raises(ValueError, match=r"y_true\.shape=.*y_pred\.shape="):
        row.make()(np.zeros((3, 2, 2)), np.zeros((4, 2)))
