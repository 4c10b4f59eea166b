"""A fused head in `fit` against the same model with all of its logits."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import FusedHeadModel, GammaCE, losses, metrics
from keras_calib.callbacks import GammaScheduler, linear
from keras_calib.ops.token_statistics import FIGURES, TokenBatch
from tests.backends import BACKEND, slow_on_jax, tensorflow_only

K, LENGTH = 12, 6


def arrays():
    rng = np.random.default_rng(0)
    x = rng.integers(1, K, (24, LENGTH)).astype("int32")
    x[:, -2:] = 0  # padding
    return x, np.roll(x, -1, 1), rng.uniform(0.5, 2.0, x.shape).astype("float32")


X, Y, WEIGHT = arrays()


def dense(tokens):
    # In `fit` on JAX, metrics of logits lose the mask, and statistics keep it.
    h = keras.layers.Embedding(K, 8, mask_zero=BACKEND != "jax")(tokens)
    return keras.layers.Dense(K)(keras.layers.Dense(8, "gelu")(h))


def einsum(tokens):
    h = keras.layers.Embedding(K, 8)(tokens)
    return keras.layers.EinsumDense("btd,dk->btk", (None, K), bias_axes="k")(h)


def tied(tokens, **how):
    table = keras.layers.ReversibleEmbedding(K, 8, logit_soft_cap=2.0, **how)
    return table(keras.layers.Dense(8, "gelu")(table(tokens)), reverse=True)


def untied(tokens):
    return tied(tokens, tie_weights=False)


def make(head=dense, length=LENGTH):
    keras.utils.set_random_seed(0)
    tokens = keras.Input((length,), dtype="int32")
    return keras.Model(tokens, head(tokens))


def compiled(model, loss=None, **how):
    loss = loss or GammaCE(0.0, from_logits=True, ignore_class=0)
    nll, ece = (
        kind(from_logits=True, ignore_class=0, name=name)
        for kind, name in (
            (metrics.NegativeLogLikelihood, "nll"),
            (metrics.ExpectedCalibrationError, "ece"),
        )
    )
    given = [metrics.Accuracy(from_logits=True, ignore_class=0), ece, loss.gamma]
    optimizer = keras.optimizers.SGD(0.3, **how.pop("optimizer", {}))
    model.compile(optimizer, loss, metrics=given, weighted_metrics=[nll], **how)
    return model


def fitted(model, **how):
    """Returns the history, the figures of `evaluate` and the weights."""
    annealing = GammaScheduler(linear(0.0, 0.3))
    options = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    options |= {"validation_data": (X, Y, WEIGHT), "callbacks": [annealing]}
    history = model.fit(X, Y, sample_weight=WEIGHT, **options).history
    found = model.evaluate(X, Y, sample_weight=WEIGHT, verbose=0, return_dict=True)
    return history, found, model.get_weights()


def assert_same(found, expected, tolerance=1e-5):
    (history, figures, weights), (history_2, figures_2, weights_2) = found, expected
    assert list(history) == list(history_2)
    for name in history:
        np.testing.assert_allclose(history[name], history_2[name], tolerance, tolerance)
    for name in figures:
        np.testing.assert_allclose(figures[name], figures_2[name], tolerance, tolerance)
    for weight, other in zip(weights, weights_2, strict=True):
        np.testing.assert_allclose(weight, other, tolerance, tolerance)


SLOW_ON_JAX = pytest.mark.slow if BACKEND == "jax" else ()
HEADS = [dense, *(pytest.param(h, marks=SLOW_ON_JAX) for h in (einsum, tied, untied))]


@pytest.mark.thorough
@pytest.mark.parametrize("head", HEADS)
def test_it_trains_as_the_model_with_all_logits(head):
    fused = FusedHeadModel(make(head), chunk_size=7)
    assert_same(fitted(compiled(fused)), fitted(compiled(make(head))))
    logits = fused.predict(X, verbose=0)
    assert logits.shape == (*X.shape, K)
    np.testing.assert_allclose(fused.model.predict(X, verbose=0), logits, 1e-6)


def adapted(tokens):
    head = keras.layers.Dense(K)
    logits = head(keras.layers.Embedding(K, 8)(tokens))
    head.enable_lora(2)
    return logits


@slow_on_jax
def test_a_head_with_lora_trains_its_two_factors_alone():
    fused = FusedHeadModel(make(adapted), chunk_size=7)
    head = fused.model.layers[-1]

    def values():
        return [ops.convert_to_numpy(x) for x in (head._kernel, head.lora_kernel_b)]

    kernel, factor = values()
    assert_same(fitted(compiled(fused)), fitted(compiled(make(adapted))))
    np.testing.assert_array_equal(values()[0], kernel)
    assert np.any(values()[1] != factor)


def test_a_quantized_head_is_refused():
    model = make(einsum)
    model.layers[-1].quantize("int8")
    with pytest.raises(ValueError, match="last layer is quantized"):
        FusedHeadModel(model)


def test_a_causal_language_model_of_keras_hub():
    models = pytest.importorskip("keras_hub", reason="KerasHub is not installed").models
    backbone = models.GPT2Backbone(
        vocabulary_size=K,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        max_sequence_length=LENGTH,
    )
    fused = FusedHeadModel(models.GPT2CausalLM(backbone, preprocessor=None))
    loss = GammaCE(0.1, from_logits=True, ignore_class=0)
    fused.compile("sgd", loss, metrics=["accuracy"])
    x = {"token_ids": X, "padding_mask": np.ones_like(X)}
    found = fused.evaluate(x, Y, verbose=0, return_dict=True, batch_size=len(X))
    logits = fused.predict(x, verbose=0, batch_size=len(X))
    assert found["loss"] == pytest.approx(float(loss(Y, logits)), rel=1e-5)
    hits = np.argmax(logits, -1)[Y > 0] == Y[Y > 0]
    assert found["accuracy"] == pytest.approx(hits.mean())
    fused.fit(x, Y, verbose=0)


def test_accuracy_by_its_name_and_cross_entropy_of_keras():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
    fused = FusedHeadModel(make(einsum))
    by_name = ["accuracy", "sparse_categorical_accuracy"]
    fused.compile("sgd", loss, metrics=by_name)
    found = fused.evaluate(X, Y, verbose=0, return_dict=True)
    assert found["accuracy"] == found["sparse_categorical_accuracy"]
    logits = ops.convert_to_tensor(fused.predict(X, verbose=0))
    expected = np.argmax(ops.convert_to_numpy(logits), -1)[Y > 0] == Y[Y > 0]
    assert np.isclose(found["accuracy"], expected.mean())
    assert np.isclose(found["loss"], float(loss(Y, logits)), rtol=1e-5)
    assert "accuracy" in fused.train_on_batch(X, Y, return_dict=True)


def test_it_computes_what_its_metrics_read():
    read = []

    class Seeing(metrics.Accuracy):
        def accumulate(self, batch):
            if isinstance(batch, TokenBatch):
                found = vars(batch._statistics)
                read.append({name for name in FIGURES if found[name] is not None})
            super().accumulate(batch)

    loss = GammaCE(0.1, from_logits=True)
    entropy = metrics.PredictiveEntropy(from_logits=True)
    for others in ({}, {"weighted_metrics": entropy}):
        fused = FusedHeadModel(make(einsum))
        fused.compile("sgd", loss, metrics=[Seeing(from_logits=True)], **others)
        fused.evaluate(X, Y, verbose=0)
    first, second = read[0], read[-1]
    assert first == {"log_probability", "hit"}
    assert second == first | {"entropy"}
    fused.compile("sgd", loss)  # without others, Keras keeps those metrics
    fused.fit(X, Y, verbose=0)


@slow_on_jax
def test_sequential_mixed_precision_and_gradient_accumulation():
    def sequential():
        keras.utils.set_random_seed(0)
        layers = [keras.Input((LENGTH,)), keras.layers.Embedding(K, 8)]
        layers = [*layers, keras.layers.Dense(K, dtype="float32")]
        return keras.Sequential(layers)

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        how = {"optimizer": {"gradient_accumulation_steps": 2}}
        fused = FusedHeadModel(sequential())
        found = fitted(compiled(fused, **how))
        assert_same(found, fitted(compiled(sequential(), **how)), 2e-2)
    finally:
        keras.mixed_precision.set_global_policy("float32")


@slow_on_jax
def test_penalties_of_layers_count():
    def penalized(tokens):
        h = keras.layers.Embedding(K, 8, embeddings_regularizer="l2")(tokens)
        return keras.layers.Dense(K, kernel_regularizer="l2")(h)

    assert_same(
        fitted(compiled(FusedHeadModel(make(penalized)))),
        fitted(compiled(make(penalized))),
    )


@pytest.mark.slow
@tensorflow_only
def test_several_steps_an_execution_under_xla():
    how = {"steps_per_execution": 2, "jit_compile": True}
    how |= {"optimizer": {"momentum": 0.5}}
    found = fitted(compiled(FusedHeadModel(make(einsum)), **how))
    assert_same(found, fitted(compiled(make(einsum), **how)))


@slow_on_jax
def test_it_is_saved_with_what_it_was_compiled_with(tmp_path):
    fused = compiled(FusedHeadModel(make(tied), chunk_size=5))
    fused.fit(X, Y, verbose=0)
    fused.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.chunk_size == 5 and len(loaded.weights) == len(fused.weights)
    expected = fused.evaluate(X, Y, verbose=0, return_dict=True)
    found = loaded.evaluate(X, Y, verbose=0, return_dict=True)
    assert found == pytest.approx(expected, rel=1e-5)
    loaded.fit(X, Y, verbose=0)
    fused.save_weights(tmp_path / "model.weights.h5")
    other = FusedHeadModel(make(tied))
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(
        other.predict(X, verbose=0), fused.predict(X, verbose=0), 1e-5, 1e-6
    )


def softmax(tokens):
    h = keras.layers.Embedding(K, 8)(tokens)
    return keras.layers.Dense(K, "softmax")(h)


def flattened(tokens):
    h = keras.layers.Embedding(K, 8)(tokens)
    return keras.layers.EinsumDense("btd,tdk->bk", (K,))(h)


class Doubled(keras.layers.Dense):
    def call(self, inputs):
        return 2.0 * super().call(inputs)


def doubled(tokens):
    return Doubled(K)(keras.layers.Embedding(K, 8)(tokens))


def biased_by_place(tokens):
    head = keras.layers.EinsumDense("btd,dk->btk", (LENGTH, K), bias_axes="tk")
    return head(keras.layers.Embedding(K, 8)(tokens))


def nested(tokens):
    return make()(tokens)


def two_outputs(tokens):
    return [dense(tokens), dense(tokens)]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (softmax, "'softmax'"),
        (flattened, "EinsumDense that maps the last axis"),
        (doubled, "without its own `call`"),
        (biased_by_place, "one bias per class"),
        (nested, "must be a Dense"),
        (two_outputs, "one output"),
    ],
)
def test_a_head_that_cannot_be_separated_is_refused(head, message):
    with pytest.raises(ValueError, match=message):
        FusedHeadModel(make(head))


def test_a_subclassed_model_and_what_cannot_be_compiled_are_refused():
    class Own(keras.Model):
        pass

    with pytest.raises(ValueError, match="functional or sequential"):
        FusedHeadModel(Own())
    fused = FusedHeadModel(make())
    loss = GammaCE(0.1, from_logits=True)
    with pytest.raises(ValueError, match="token statistics"):
        fused.compile("sgd", loss, metrics=["sparse_top_k_categorical_accuracy"])
    with pytest.raises(ValueError, match="one loss"):
        fused.compile("sgd", loss, loss_weights=[2.0])
    for wrong in (GammaCE(0.1), "mse", losses.HardNegativeCE(from_logits=True)):
        with pytest.raises(ValueError, match="`loss`|from_logits=True"):
            fused.compile("sgd", wrong)
