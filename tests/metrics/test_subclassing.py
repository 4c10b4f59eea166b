"""Bases are subclassed as Keras's guides subclass its own."""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import metrics
from keras_calib.ops.ranked import accuracy_at_coverage
from tests.metrics.reference import assert_close, binned, data, top

register = keras.saving.register_keras_serializable(package="test_subclassing")


@register
class TopProbability(metrics.MeanMetric):
    """Only `values`."""

    direction = None

    def values(self, batch):
        return batch.confidence


@register
class Power(TopProbability):
    """An argument more than its base, which has none of its own."""

    def __init__(self, power=2.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def values(self, batch):
        return super().values(batch) ** self.power


@register
class NamedPower(Power):
    """A third level, which fixes an argument and sets a name as Keras does."""

    def __init__(self, name="cube", **kwargs):
        super().__init__(power=3.0, name=name, **kwargs)


@register
class HalfAccuracy(metrics.RankedMetric):
    """Only `of_cells`."""

    def of_cells(self, cells):
        return accuracy_at_coverage(cells, 0.5)


@register
class LargestHits(metrics.BinnedMetric):
    """Only `result`; `num_bins` is the base's."""

    def result(self):
        return ops.max(self.sums().hits)


@register
class TopBins(metrics.GroupedMetric):
    """Only `events`."""

    def events(self, batch):
        return batch.every_class


@register
class Bare(metrics.CalibrationMetric):
    """State made as Keras's guides make it, and a `get_config` of its own."""

    def __init__(self, a, **kwargs):
        super().__init__(**kwargs)
        self.a = np.asarray(a, "float32")
        self.total = self.add_variable((), "zeros", name="total")

    def accumulate(self, batch):
        self.total.assign_add(ops.sum(ops.matmul(batch.probabilities, self.a[:, None])))

    def result(self):
        return ops.convert_to_tensor(self.total)

    def get_config(self):
        return {**super().get_config(), "a": self.a.tolist()}


WEIGHTS = [1.0, 0.0, 2.0, 0.0, 0.0]
CASES = {
    "top_probability": (TopProbability, lambda c, h, p: c.mean()),
    "power": (Power, lambda c, h, p: (c**2).mean()),
    "cube": (NamedPower, lambda c, h, p: (c**3).mean()),
    "half_accuracy": (
        HalfAccuracy,
        lambda c, h, p: h[np.argsort(-c, kind="stable")[: len(c) // 2]].mean(),
    ),
    "largest_hits": (
        lambda **kwargs: LargestHits(1, **kwargs),
        lambda c, h, p: h.sum(),
    ),
    "bare": (lambda **kwargs: Bare(WEIGHTS, **kwargs), lambda c, h, p: p @ WEIGHTS),
}
every_case = pytest.mark.parametrize("name", CASES)


def updated(metric, y, p):
    metric.update_state(y, p)
    return metric


@every_case
def test_value_and_name(name):
    y, p, _ = data("classes", n=64)
    make, expected = CASES[name]
    found = updated(make(), y, p)
    assert found.name == name
    assert_close(found.result(), np.sum(expected(*top(y, p), p)), 2e-2)
    from_logits = updated(make(from_logits=True), y, np.log(p))
    assert_close(from_logits.result(), found.result(), 1e-4)


def test_groups():
    y, p, _ = data("classes", n=64)
    metric = updated(TopBins(4), y, p)
    w = np.ones(len(y))
    expected = [binned(p[:, k], 1.0 * (y == k), w, 4) for k in range(5)]
    assert_close(metric.result(), np.mean(expected))
    assert len(metric.statistics()) == 5


@every_case
def test_configs(name):
    metric = CASES[name][0](dtype="float64", ignore_class=3)
    config = metric.get_config()
    assert config["ignore_class"] == 3
    clone = type(metric).from_config(config)
    assert clone.get_config() == config
    for again in (
        keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(metric)
        ),
        keras.metrics.deserialize(keras.metrics.serialize(metric)),
        keras.metrics.get(keras.metrics.serialize(metric)),
    ):
        assert type(again) is type(metric)
        assert again.get_config() == config
        assert again.state_dtype == "float64"


@every_case
def test_copies_keep_the_state(name):
    y, p, _ = data("classes", n=64)
    metric = updated(CASES[name][0](), y, p)
    for again in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert float(again.result()) == float(metric.result())
        again.reset_state()
        assert not float(again.result()) > 0.0 < float(metric.result())


def test_in_a_compiled_model_that_is_saved_and_loaded(tmp_path):
    y, p, _ = data("classes", n=64)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
    made = [make() for make, _ in CASES.values()]
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=made)
    found = model.evaluate(np.log(p), y, batch_size=64, return_dict=True, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded.evaluate(np.log(p), y, batch_size=64, return_dict=True, verbose=0)
    for name, (make, _) in CASES.items():
        assert_close(found[name], updated(make(), y, p).result(), 1e-5)
        assert_close(again[name], found[name], 1e-6)


def test_beside_others_in_a_set():
    y, p, _ = data("classes", n=64)
    together = metrics.CalibrationMetrics([make() for make, _ in CASES.values()])
    together.update_state(y, p)
    again = metrics.CalibrationMetrics.from_config(together.get_config())
    again.update_state(y, p)
    assert_close(again.result(), together.result())


def test_what_is_missing_is_named():
    with pytest.raises(TypeError, match="abstract.*values"):
        metrics.MeanMetric()
    with pytest.raises(TypeError, match="abstract.*of_cells"):
        metrics.RankedMetric()
    with pytest.raises(TypeError, match="abstract.*events"):
        metrics.GroupedMetric()


def test_docstring_and_signature_follow_the_chain():
    import inspect

    names = list(inspect.signature(LargestHits).parameters)
    shared = ["from_logits", "ignore_class", "axis", "name", "dtype"]
    assert names == ["num_bins", *shared]
    assert "num_bins: the number of equal-width bins" in LargestHits.__doc__
    assert repr(LargestHits(3)) == "LargestHits(num_bins=3)"


class Late(metrics.MeanMetric):
    """Adds a variable with the first batch."""

    seen = None

    def values(self, batch):
        if self.seen is None:
            self.seen = self.add_variable((), "zeros", name="seen")
        return batch.confidence


def test_a_copy_without_room_for_the_state_is_refused():
    metric = Late()
    metric.update_state([0], [[0.8, 0.2]])
    with pytest.raises(ValueError, match="late cannot be copied: it has 2 variables"):
        copy.deepcopy(metric)
