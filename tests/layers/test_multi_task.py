"""Tasks weighted by learned variances."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import GammaCE, MultiTaskModel
from keras_calib._keras import set_keras_mask
from keras_calib.callbacks import GammaScheduler, linear
from keras_calib.layers.multi_task import WeightedLoss
from keras_calib.losses import HardNegativeCE
from tests.backends import jax_only

TASKS = {"shape": "classification", "side": "classification", "size": "regression"}


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype("float32")
    y = {
        "shape": x[:, :3].argmax(1),
        "side": (x[:, 0] > 0).astype("int32"),
        "size": x[:, :1] + 0.1 * rng.normal(size=(64, 1)),
    }
    return x, y


def model():
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    outputs = {
        name: keras.layers.Dense(units)(x)
        for name, units in (("shape", 3), ("side", 2), ("size", 1))
    }
    return MultiTaskModel(keras.Model(x, outputs), TASKS)


def losses():
    return {
        "shape": GammaCE(0.1, from_logits=True),
        "side": GammaCE(0.3, from_logits=True),
        "size": "mse",
    }


class Constant(keras.losses.Loss):
    """A loss of a given value."""

    def __init__(self, value):
        super().__init__(dtype="float64")
        self.value = value

    def call(self, y_true, y_pred):
        return 0.0 * y_pred[..., 0] + self.value


def test_reference():
    """L = .8 and .3 with s = .2 and -.5: .7549846 + .2446164 = .9996010."""
    parts = []
    for value, s in ((0.8, 0.2), (0.3, -0.5)):
        variable = keras.Variable(s, dtype="float64")
        loss = WeightedLoss(Constant(value), "classification", variable)
        parts.append(float(loss(np.zeros((3, 1)), np.zeros((3, 1)))))
    assert [round(p, 7) for p in parts] == [0.7549846, 0.2446164]
    assert sum(parts) == pytest.approx(0.999600983672, abs=5e-13)


def test_the_variances_settle_where_the_formula_says():
    """s = log(2 loss), and log(loss) of a regression."""
    multi = model()
    multi.model.trainable = False
    multi.compile(keras.optimizers.SGD(1.0), losses())
    x, y = data()
    multi.fit(x, y, batch_size=64, epochs=30, verbose=0)
    outputs = multi(x)
    for name, loss in losses().items():
        value = float(ops.mean(keras.losses.get(loss)(y[name], outputs[name])))
        expected = np.log(value if TASKS[name] == "regression" else 2 * value)
        assert float(multi.log_variances[name]) == pytest.approx(expected, abs=1e-4)


def test_each_task_has_its_gamma_and_the_model_is_saved(tmp_path):
    multi, (x, y) = model(), data()
    given = losses()
    shape, side = given["shape"].gamma, given["side"].gamma
    metrics = {"shape": ["accuracy", shape], "side": [side]}
    multi.compile("adam", given, metrics=metrics)
    multi.fit(x, y, verbose=0)
    assert float(given["shape"].gamma) == 0.1
    assert float(given["side"].gamma) == 0.3
    multi.fit(x, y, epochs=2, verbose=0, callbacks=[GammaScheduler(linear(0.0, 0.5))])
    assert float(given["shape"].gamma) == float(given["side"].gamma) == 0.5
    multi.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert float(loaded.loss["side"].loss.gamma) == 0.5
    for name, variable in multi.log_variances.items():
        assert float(loaded.log_variances[name]) == float(variable)
    expected = multi.evaluate(x, y, verbose=0, return_dict=True)
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == expected
    loaded.fit(x, y, verbose=0)


def test_it_is_saved_before_it_is_compiled(tmp_path):
    made, (x, _) = model(), data()
    made.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for name, expected in made(x).items():
        np.testing.assert_array_equal(
            ops.convert_to_numpy(loaded(x)[name]), ops.convert_to_numpy(expected)
        )


def test_ignored_samples_stay_ignored():
    inner = GammaCE(0.1, from_logits=True, ignore_class=-1)
    loss = WeightedLoss(inner, "classification", keras.Variable(0.4))
    z = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    some = float(loss(np.array([0, -1, 2, -1]), z))
    assert some == pytest.approx(float(loss(np.array([0, 2]), z[[0, 2]])), rel=1e-6)


def test_weights_are_not_changed_in_place():
    """On torch Keras multiplies the mask of a loss into them."""
    inner = GammaCE(0.1, from_logits=True, ignore_class=0)
    loss = WeightedLoss(inner, "classification", keras.Variable(0.0))
    w = np.ones(4, "float32")
    loss(np.arange(4) % 3, np.zeros((4, 3)), w)
    assert w.tolist() == [1.0] * 4


def test_one_weight_a_sample_of_several_positions_is_refused():
    loss = WeightedLoss(
        GammaCE(0.1, from_logits=True), "classification", keras.Variable(0.0)
    )
    y, z = np.zeros((3, 3), "int32"), np.zeros((3, 3, 2), "float32")
    assert float(loss(y, z, np.ones((3, 3)))) > 0.0
    with pytest.raises(ValueError, match="must have one weight for each position"):
        loss(y, z, np.ones(3))


def test_a_mask_on_half_precision_is_read():
    """A cast drops the mask."""
    inner = HardNegativeCE(1.0, from_logits=True)
    loss = WeightedLoss(inner, "classification", keras.Variable(0.0))
    y = np.array([[1, 0, 0, 0]])
    z = np.array([[[0.0, 1.0], [1.0, 0.0], [0.0, 9.0], [0.0, 9.0]]], "float16")

    def masked():
        scores = ops.convert_to_tensor(z)
        set_keras_mask(scores, ops.convert_to_tensor([[True, True, False, False]]))
        return scores

    expected = float(inner(y[:, :2], z[:, :2]))
    assert float(inner(y, masked())) == pytest.approx(expected, rel=1e-6)
    assert float(loss(y, masked())) == pytest.approx(expected, rel=1e-6)


@jax_only
def test_to_assign_what_jax_has_baked_in_warns():
    multi, given, (x, y) = model(), losses(), data()
    multi.compile("sgd", given)
    multi.fit(x, y, verbose=0)
    with pytest.warns(UserWarning, match="keeps gamma=0.1"):
        given["shape"].gamma = 0.2


def test_bad_arguments():
    x = keras.Input((4,))
    inner = keras.Model(x, {"a": keras.layers.Dense(2)(x)})
    with pytest.raises(ValueError, match="must name the entries.*'b'.*outputs=.'a'."):
        MultiTaskModel(inner, {"b": "classification"})
    with pytest.raises(ValueError, match="'classification', 'regression'. Received"):
        MultiTaskModel(inner, {"a": "ranking"})
    with pytest.raises(ValueError, match="must be a dictionary of the tasks"):
        MultiTaskModel(inner, {"a": "classification"}).compile("sgd", "mse")
