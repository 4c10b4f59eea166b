"""Whatever holds the numbers, evaluate gives the figures of their arrays."""

import importlib.util

import keras
import numpy as np
import pytest
import scipy.sparse

import keras_calib
from keras_calib.evaluation import batches
from tests.backends import slow_on_jax, tensorflow_only
from tests.metrics.reference import data

Y, P, W = data("classes", n=60)
EXPECTED = keras_calib.evaluate(Y, P, sample_weight=W)


@pytest.fixture(name="chunked")
def _chunked(monkeypatch):
    """The figures of the arrays, in chunks of 20 samples."""
    monkeypatch.setattr(batches, "CHUNK", 20 * 5)
    return keras_calib.evaluate(Y, P, sample_weight=W, verbose=False)


def parts(*sizes):
    """The samples in batches of these sizes, and a last one of the rest."""
    ends = np.cumsum(sizes)
    return list(zip(*(np.split(x, ends) for x in (Y, P, W)), strict=True))


def pandas(y, p, w):
    import pandas as pd

    index = np.random.default_rng(0).permutation(len(y))
    frame = pd.DataFrame(p, index, [f"p_{k}" for k in range(p.shape[1])])
    return pd.Series(y, index, dtype="Int64"), frame, pd.Series(w, index)


def pandas_lists(y, p, w):
    import pandas as pd

    frame = pd.DataFrame({"y": y, "p": list(p), "w": w})
    return frame["y"], frame["p"], frame["w"]


def polars(y, p, w):
    import polars as pl

    return pl.Series(y), pl.DataFrame(p), pl.Series(w)


def polars_array(y, p, w):
    import polars as pl

    column = pl.Series(p, dtype=pl.Array(pl.Float32, p.shape[1]))
    return pl.DataFrame({"y": y})["y"], column, pl.Series(w)


def polars_lists(y, p, w):
    import polars as pl

    return pl.Series(y), pl.Series(p.tolist(), dtype=pl.List(pl.Float32)), pl.Series(w)


def arrow(y, p, w):
    import pyarrow as pa

    table = pa.table({f"p_{k}": column for k, column in enumerate(p.T)})
    return pa.chunked_array([y[:7], y[7:]]), table, pa.array(w)


def arrow_lists(y, p, w):
    import pyarrow as pa

    flat = pa.array(p.ravel())
    rows = pa.FixedSizeListArray.from_arrays(flat, p.shape[1])
    return pa.array(y), pa.chunked_array([rows]), pa.array(w)


def torch(y, p, w):
    import torch

    return torch.tensor(y), torch.tensor(p, requires_grad=True), torch.tensor(w)


def jax(y, p, w):
    import jax.numpy as jnp

    return jnp.asarray(y), jnp.asarray(p), jnp.asarray(w)


def tensorflow(y, p, w):
    import tensorflow as tf

    return tf.constant(y), tf.Variable(p), tf.constant(w)


def memmap(y, p, w, path):
    arrays = []
    for i, x in enumerate((y, p, w)):
        arrays.append(np.memmap(path / str(i), x.dtype, "w+", shape=x.shape))
        arrays[-1][:] = x
    return arrays


@pytest.mark.parametrize(
    "form",
    [
        pandas,
        pandas_lists,
        polars,
        polars_array,
        polars_lists,
        arrow,
        arrow_lists,
        torch,
        jax,
        tensorflow,
    ],
    ids=lambda form: form.__name__,
)
def test_tables_and_tensors(form, chunked):
    pytest.importorskip(form.__name__.split("_")[0].replace("arrow", "pyarrow"))
    y, p, w = form(Y, P, W)
    assert keras_calib.evaluate(y, p, sample_weight=w, verbose=False) == chunked


def test_arrays_of_numpy_and_keras(tmp_path):
    for y, p, w in (
        memmap(Y, P, W, tmp_path),
        (Y[::-1][::-1], np.asfortranarray(P), W.astype("int8")),
        (keras.ops.convert_to_tensor(Y), keras.Variable(P), W[:, None]),
        (Y.astype("float64"), P.astype(object).astype("float32"), W.tolist()),
    ):
        assert keras_calib.evaluate(y, p, sample_weight=w) == EXPECTED
    lists = keras_calib.evaluate(Y.tolist(), P.tolist(), sample_weight=W.tolist())
    assert lists == keras_calib.evaluate(Y, P.astype("float64"), sample_weight=W)


@slow_on_jax
def test_bfloat16_of_torch_is_read_as_it_is():
    torch = pytest.importorskip("torch")
    z = torch.tensor(np.log(P)).bfloat16()
    expected = keras_calib.evaluate(Y, z.float().numpy(), from_logits=True)
    assert keras_calib.evaluate(Y, z, from_logits=True) == expected


STREAMS = {
    "list": lambda: parts(1, 13, 30),
    "tuple": lambda: tuple(parts(60)[:1]),
    "lists of lists": lambda: [list(batch) for batch in parts(20, 20)],
    "generator": lambda: (batch for batch in parts(59)),
    "iterator": lambda: iter(parts(5, 5, 5)),
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_streams_give_the_figures_of_arrays(stream, chunked):
    assert keras_calib.evaluate(stream(), verbose=False) == chunked


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return parts(20, 20)[i]


def test_datasets():
    assert keras_calib.evaluate(Sequence()) == EXPECTED
    if importlib.util.find_spec("tensorflow"):
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices((Y, P, W)).batch(13)
        assert keras_calib.evaluate(dataset) == EXPECTED
        with pytest.raises(ValueError, match="must end: use dataset.take"):
            keras_calib.evaluate(dataset.repeat())
    if importlib.util.find_spec("torch"):
        from torch.utils.data import DataLoader, TensorDataset

        loader = DataLoader(TensorDataset(*torch(Y, P, W)), batch_size=17)
        assert keras_calib.evaluate(loader) == EXPECTED


@slow_on_jax
def test_batches_of_different_shapes():
    """Images of different sizes, with and without weights."""
    expected = keras_calib.evaluate(Y, P)
    images = [
        (Y[:24].reshape(1, 4, 6), P[:24].reshape(1, 4, 6, 5)),
        (Y[24:36].reshape(1, 3, 4), P[24:36].reshape(1, 3, 4, 5), np.ones(1)),
        (Y[36:].reshape(2, 3, 4), P[36:].reshape(2, 3, 4, 5), np.ones((2, 3, 4))),
    ]
    found = keras_calib.evaluate(images)
    assert found == pytest.approx(dict(expected), abs=1e-12)
    assert (found.n, found.exact) == (60, True)


def test_a_stream_shows_a_bar_from_the_second_chunk(monkeypatch, capsys):
    keras_calib.evaluate(parts(30))
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(batches, "CHUNK", 20 * 5)
    keras_calib.evaluate(parts(30))
    assert "60" in capsys.readouterr().out


def test_a_keras_mask_hides_samples():
    p = keras.ops.convert_to_tensor(P[None])
    keras_calib._keras.set_keras_mask(p, keras.ops.convert_to_tensor(W[None] > 0))
    expected = keras_calib.evaluate(Y, P, sample_weight=(W > 0) * W)
    for found in (
        keras_calib.evaluate(Y[None], p, sample_weight=W[None]),
        keras_calib.evaluate([(Y[None], p, W[None])]),
    ):
        assert found == expected
    assert keras_calib.evaluate(Y[None], p).n == (W > 0).sum()


WRONG = {
    "labels alone": ((Y,), "`y_pred` is missing: write evaluate"),
    "a list of labels": ((Y.tolist(),), "a batch must be .* Received: int"),
    "a pair that is no batch": (((Y, P),), "a batch must be .* Received: ndarray"),
    "batches of predictions": (([P, P],), "a batch must be .* Received: ndarray"),
    "batches of four": (([(Y, P, W, W)],), "Received: tuple of ndarray, ndarray, nda"),
    "dictionaries": (([{"y": Y, "p": P}],), "a batch must be .* Received: dict"),
    "a dictionary": (({"y": Y, "p": P},), "`y_pred` is missing.* Received: dict"),
    "text": (("predictions.csv",), "`y_pred` is missing.* Received: str"),
    "no batch": (([],), "there must be at least one batch. Received: none"),
    "a batch of labels only": (([(Y, None)],), "`y_pred` must be an array of numbers"),
    "lengths of a batch": (([(Y[1:], P)],), "must have the same length"),
    "an empty batch": (([(Y[:0], P[:0])],), "is empty"),
    "a number": ((3,), "`y_pred` is missing.* Received: int"),
    "other classes in a batch": (
        ([(Y[:30], P[:30]), (Y[30:] % 2, P[30:, :2] / P[30:, :2].sum(1)[:, None])],),
        "the same number of classes in every",
    ),
    "classes after one value": (
        ([(Y[:30] % 2, P[:30, 0]), (Y[30:], P[30:])],),
        "the same number of classes in every",
    ),
    "a sparse matrix": ((Y, scipy.sparse.csr_matrix(P)), "must be an array of numbers"),
    "rows of several lengths": ((Y[:2], [[0.2, 0.8], [1.0]]), "rows of one length"),
    "a column of texts": ((Y, P.astype(str)), "strings"),
}


@pytest.mark.parametrize(("given", "match"), WRONG.values(), ids=WRONG)
def test_what_is_no_form_is_refused_in_words(given, match):
    with pytest.raises(ValueError, match=match):
        keras_calib.evaluate(*given)


def test_weights_come_in_batches():
    with pytest.raises(ValueError, match="the weights come in the batches"):
        keras_calib.evaluate(parts(30), sample_weight=W)


def test_rows_of_pandas_in_another_order_are_refused():
    pd = pytest.importorskip("pandas")
    y, p = pd.Series(Y), pd.DataFrame(P)
    with pytest.raises(ValueError, match=r"write y_true.loc\[y_pred.index\]"):
        keras_calib.evaluate(y[::-1], p)
    other = pd.Series(Y, index=np.arange(len(Y)) + 100)
    assert keras_calib.evaluate(other, p) == keras_calib.evaluate(Y, P)


def test_missing_numbers_are_refused():
    pd = pytest.importorskip("pandas")
    y = pd.Series(Y, dtype="Int64")
    y[3] = None
    with pytest.raises(ValueError, match="y_true holds NaN"):
        keras_calib.evaluate(y, P)
    p = pd.DataFrame(P).astype("Float64")
    p.iloc[3, 0] = pd.NA
    with pytest.raises(ValueError, match="y_pred holds NaN"):
        keras_calib.evaluate(Y, p.assign(other=0.0))
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match="y_true holds NaN"):
        keras_calib.evaluate(pa.array([None, *Y[1:].tolist()]), P)


def test_sparse_tensors_are_refused_in_words():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="`y_pred` must be an array of numbers"):
        keras_calib.evaluate(Y, torch.tensor(P).to_sparse())


def test_batches_without_weights_count_once():
    some = [(Y[:7], P[:7]), (Y[7:], P[7:], W[7:])]
    whole = np.r_[np.ones(7), W[7:]]
    expected = keras_calib.evaluate(Y, P, sample_weight=whole)
    found = keras_calib.evaluate(some, verbose=False)
    assert found == pytest.approx(expected, rel=1e-12)


@tensorflow_only
class TestDistributions:
    """Those of TensorFlow Probability, by their own parameters."""

    tfd = property(
        lambda self: pytest.importorskip("tensorflow_probability").distributions
    )

    def test_classes(self):
        z = np.log(P)
        expected = keras_calib.evaluate(Y, z, sample_weight=W, from_logits=True)
        for kind in (self.tfd.Categorical, self.tfd.OneHotCategorical):
            for given, found in ((kind(probs=P), EXPECTED), (kind(logits=z), expected)):
                assert keras_calib.evaluate(Y, given, sample_weight=W) == found
        stream = [
            (y, self.tfd.Categorical(logits=np.log(p)), w) for y, p, w in parts(20, 3)
        ]
        assert keras_calib.evaluate(stream) == expected

    def test_binary(self):
        y, p, _ = data("binary", n=40)
        y, p = y[:, 0], p[:, 0]
        bernoulli = self.tfd.Bernoulli(probs=p)
        assert keras_calib.evaluate(y, bernoulli) == keras_calib.evaluate(y, p)
        z = np.log(p) - np.log1p(-p)
        expected = keras_calib.evaluate(y, z, from_logits=True)
        assert keras_calib.evaluate(y, self.tfd.Bernoulli(logits=z)) == expected
        several = z.reshape(-1, 4)
        for how in ({}, {"multilabel": True}):
            labels = self.tfd.Bernoulli(logits=several)
            found = keras_calib.evaluate(y.reshape(-1, 4), labels, **how)
            assert found["negative_log_likelihood"] == pytest.approx(
                expected["negative_log_likelihood"]
            )

    @pytest.mark.parametrize("by", ["probs", "logits"])
    @pytest.mark.parametrize("shared", [True, False])
    def test_mixtures_are_pooled(self, by, shared):
        rng = np.random.default_rng(0)
        weight = rng.dirichlet(np.ones(3), None if shared else 60)
        p = rng.dirichlet(np.ones(5), (60, 3))
        mixture = self.tfd.MixtureSameFamily(
            self.tfd.Categorical(probs=weight),
            self.tfd.Categorical(**{by: p if by == "probs" else np.log(p)}),
        )
        pooled = (weight[..., None] * p).sum(1)
        expected = keras_calib.evaluate(Y, pooled)
        assert keras_calib.evaluate(Y, mixture) == pytest.approx(dict(expected))
        one = self.tfd.MixtureSameFamily(
            self.tfd.Categorical(probs=weight),
            self.tfd.Bernoulli(
                **{
                    by: p[..., 0]
                    if by == "probs"
                    else np.log(p[..., 0] / (1 - p[..., 0]))
                }
            ),
        )
        expected = keras_calib.evaluate(Y % 2, (weight * p[..., 0]).sum(1))
        assert keras_calib.evaluate(Y % 2, one) == pytest.approx(dict(expected))

    def test_others_are_refused(self):
        tfd = self.tfd
        independent = tfd.Independent(tfd.Bernoulli(probs=P), 1)
        for given in (tfd.Normal(P[:, 0], 1.0), independent):
            with pytest.raises(ValueError, match="must be a Categorical.* Received"):
                keras_calib.evaluate(Y, given)
        with pytest.raises(ValueError, match="itself says what it predicts"):
            keras_calib.evaluate(Y, tfd.Categorical(probs=P), from_logits=True)
