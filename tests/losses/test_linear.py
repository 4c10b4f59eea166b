"""`linear_loss` against the loss of all logits at once."""

import contextlib
import ctypes
import functools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_calib import losses
from keras_calib._keras import set_keras_mask
from keras_calib.losses import GammaCE, linear_loss
from tests.backends import (
    BACKEND,
    every_compiler,
    jax_only,
    needs_float64,
    slow_on_jax,
    tensorflow_only,
)
from tests.losses.table import ALL, TRUE_CLASS

ROOT = Path(__file__).parents[2]
N, D, K = 11, 4, 5
SLOW_ON_JAX = pytest.mark.slow if BACKEND == "jax" else ()


def compiling(wanted):
    """Returns a context in which JAX compiles or does not."""
    if BACKEND != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.disable_jit(not wanted)


@pytest.fixture(autouse=True)
def without_compiling():
    """On JAX each loss and each shape would take a second to compile."""
    with compiling(False):
        yield


def arrays(*shape, dtype="float32", seed=0):
    """Returns labels of a shape, and hidden states, kernel and bias."""
    rng = np.random.default_rng(seed)
    shape = shape or (N,)
    y = rng.integers(0, K, shape)
    x = [rng.normal(size=s) for s in ((*shape, D), (D, K), (K,))]
    return y, *(2.0 * a.astype("float32").astype(dtype) for a in x)


def dense(loss, y, hidden, kernel, bias=None, *, sample_weight=None):
    """Returns the loss of all logits."""
    logits = hidden @ kernel  # keras.ops would round float64 on torch
    return loss(y, logits if bias is None else logits + bias, sample_weight)


def step(function, *arguments):
    """Returns a loss and its gradients in the arguments."""
    arguments = [ops.convert_to_tensor(x) for x in arguments]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = function(*arguments)
        return value, *tape.gradient(value, arguments)
    if BACKEND == "jax":
        import jax

        def total(*arguments):
            value = function(*arguments)
            return value.sum(), value

        places = tuple(range(len(arguments)))
        (_, value), found = jax.value_and_grad(total, places, has_aux=True)(*arguments)
        return value, *found
    arguments = [x.detach().requires_grad_() for x in arguments]
    value = function(*arguments)
    value.sum().backward()
    return value.detach(), *(x.grad for x in arguments)


def assert_same(found, expected, tolerance=2e-6):
    for one, other in zip(found, expected, strict=True):
        one, other = (np.asarray(ops.convert_to_numpy(x), "d") for x in (one, other))
        scale = np.abs(other).max(initial=1e-30)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


def compare(loss, *given, sample_weight=None, tolerance=2e-6, **arguments):
    """Compares value and gradients with those of the loss of all logits."""
    y, *given = given

    def of(function, **some):
        return step(
            lambda *x: function(loss, y, *x, sample_weight=sample_weight, **some),
            *given,
        )

    assert_same(of(linear_loss, **arguments), of(dense), tolerance)


# On JAX, compiling takes a second for each loss.
SOME = {"gamma_floor", "focal_alpha", "smoothing_others", "confidence_penalty"}
EVERY = [
    pytest.param(name, marks=() if name in SOME else SLOW_ON_JAX)
    for name in ALL
    if "exact" not in name
]


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", None])
@pytest.mark.parametrize("name", EVERY)
def test_every_loss_and_its_gradients(name, reduction):
    loss = ALL[name](from_logits=True, reduction=reduction)
    compare(loss, *arrays(), chunk_size=4)


@needs_float64
@slow_on_jax
@pytest.mark.parametrize("name", TRUE_CLASS)
def test_every_digit_in_float64(name):
    loss = TRUE_CLASS[name](from_logits=True, dtype="float64", reduction="sum")
    compare(loss, *arrays(dtype="float64"), chunk_size=4, tolerance=1e-12)


@slow_on_jax
@pytest.mark.parametrize("reduction", ["sum", None])
@pytest.mark.parametrize("chunk_size", [*range(1, N + 1), 100])
def test_every_chunk_size(chunk_size, reduction):
    loss = GammaCE(0.1, from_logits=True, reduction=reduction)
    compare(loss, *arrays(), chunk_size=chunk_size)


@pytest.mark.parametrize(
    "reduction", ["sum", "sum_over_batch_size", "mean_with_sample_weight", None]
)
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_masks_and_ignored_labels(reduction, ignored, masked, weighted):
    y, hidden, *head = arrays(3, 4)
    y[0, :2] = -1 if ignored else 0
    loss = GammaCE(
        0.1, from_logits=True, reduction=reduction, ignore_class=-1 if ignored else None
    )
    weight = np.random.default_rng(1).uniform(0.5, 2, (3, 4)) if weighted else None
    mask = np.arange(12).reshape(3, 4) % 3 > 0

    def of(function):
        def total(hidden, *head):
            logits_or_hidden = hidden
            if function is dense:
                logits_or_hidden = ops.matmul(hidden, head[0]) + head[1]
            if masked:
                logits_or_hidden = 1.0 * logits_or_hidden
                set_keras_mask(logits_or_hidden, ops.convert_to_tensor(mask))
            if function is dense:
                return loss(y, logits_or_hidden, weight)
            arguments = {"sample_weight": weight, "chunk_size": 5}
            return linear_loss(loss, y, logits_or_hidden, *head, **arguments)

        return step(total, hidden, *head)

    assert_same(of(linear_loss), of(dense))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", None])
def test_an_empty_batch(reduction):
    loss = GammaCE(0.1, from_logits=True, reduction=reduction)
    y, hidden, *head = arrays(1)
    found = step(lambda *x: linear_loss(loss, y[:0], *x), hidden[:0], *head)
    assert all(not ops.convert_to_numpy(x).any() for x in found)


def test_lists_and_integers_are_read():
    loss = GammaCE(0.1, from_logits=True)
    y, *given = [np.round(x).astype(int) for x in arrays()]
    found = linear_loss(loss, y.tolist(), *(x.tolist() for x in given))
    expected = dense(loss, y, *(x.astype("float32") for x in given))
    np.testing.assert_allclose(float(found), float(expected), rtol=2e-6)


def test_keras_cross_entropy():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    compare(loss, *arrays(), chunk_size=4)


def test_a_kernel_without_a_bias_and_one_of_an_embedding():
    loss = GammaCE(0.1, from_logits=True)
    y, hidden, kernel, _ = arrays()
    compare(loss, y, hidden, kernel, chunk_size=4)
    value, of_hidden, of_kernel = step(
        lambda h, w: linear_loss(loss, y, h, w, transpose=True), hidden, kernel.T
    )
    found = value, of_hidden, ops.transpose(of_kernel)
    assert_same(found, step(lambda *x: dense(loss, y, *x), hidden, kernel))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", None])
def test_a_soft_cap_and_a_z_loss(reduction):
    loss = GammaCE(0.1, from_logits=True, reduction=reduction, ignore_class=0)
    y, hidden, *head = arrays()

    def all_at_once(hidden, kernel, bias):
        z = 3.0 * ops.tanh((ops.matmul(hidden, kernel) + bias) / 3.0)
        counted = ops.convert_to_tensor(np.not_equal(y, 0).astype("float32"))
        extra = 0.1 * counted * ops.square(ops.logsumexp(z, axis=-1))
        if reduction:
            extra = ops.sum(extra) / ops.sum(counted)
        return loss(y, z) + extra

    def in_chunks(*x):
        how = {"logit_soft_cap": 3.0, "z_loss": 0.1, "chunk_size": 4}
        return linear_loss(loss, y, *x, **how)

    assert_same(step(in_chunks, hidden, *head), step(all_at_once, hidden, *head))


@pytest.mark.parametrize("label", [-1, K, 0.5, 2**32])
def test_a_label_that_is_no_class_gives_nan(label):
    y, *head = arrays()
    y = y.astype(np.result_type(y, type(label)))
    y[3] = label
    loss = GammaCE(0.1, from_logits=True, reduction=None)
    found = ops.convert_to_numpy(linear_loss(loss, y, *head, chunk_size=4))
    assert np.isnan(found).tolist() == [i == 3 for i in range(N)]
    mean = linear_loss(GammaCE(0.1, from_logits=True), y, *head, chunk_size=4)
    assert np.isnan(float(mean))
    weight = np.arange(N) != 3
    assert np.isfinite(
        float(
            linear_loss(GammaCE(0.1, from_logits=True), y, *head, sample_weight=weight)
        )
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_small_gradients_and_a_float32_kernel(dtype):
    y, hidden, *head = arrays()
    loss = GammaCE(0.1, from_logits=True)
    # As in the mean of millions of losses, no gradient is a number of float16.
    weight = np.full(N, 1e-8, "float32")
    hidden = ops.cast(hidden, dtype)

    def of(function, hidden):
        return lambda *head: function(loss, y, hidden, *head, sample_weight=weight)

    found = step(of(linear_loss, hidden), *head)
    expected = step(of(dense, ops.cast(hidden, "float32")), *head)
    assert_same(found, expected, 1e-2)
    assert {str(x.dtype).rpartition(".")[-1] for x in found[1:]} <= {
        "float32",
        "<dtype: 'float32'>",
    }


def test_the_gradient_in_sample_weights_is_that_of_the_losses():
    y, *head = arrays()
    weight = np.linspace(0.0, 2.0, N).astype("float32")
    loss = GammaCE(0.1, from_logits=True)
    found, expected = (
        step(lambda w, f=f: f(loss, y, *head, sample_weight=w), weight)
        for f in (linear_loss, dense)
    )
    assert_same(found, expected)


@every_compiler
def test_compiled_steps_with_chunks_of_two_sizes(compiler):
    """One trace serves batches of any size, whose last chunk is not full."""
    loss = GammaCE(0.1, from_logits=True, ignore_class=1)

    def one_step(y, *given):
        return step(lambda *x: linear_loss(loss, y, *x, chunk_size=4), *given)

    if BACKEND == "tensorflow":
        import tensorflow as tf

        shapes = [(None,), (None, D), (D, K), (K,)]
        kinds = ["int32", *["float32"] * 3]
        specs = [tf.TensorSpec(*s) for s in zip(shapes, kinds, strict=True)]
        compiled = compiler(one_step, input_signature=specs)
    else:
        import jax

        compiled = jax.jit(one_step)
    for n in (N,) if BACKEND == "jax" else (7, 3):
        y, *given = arrays(n)
        y = ops.convert_to_tensor(y, "int32")
        with compiling(True):
            found = compiled(y, *map(ops.convert_to_tensor, given))
        assert_same(found, step(lambda *x: dense(loss, y, *x), *given))  # noqa: B023


@jax_only
def test_gradients_through_each_transform():
    import jax

    y, *given = arrays()
    y, *given = map(ops.convert_to_tensor, (y, *given))

    def of(gamma, reduction):
        """Gamma is traced, as in the trainer's state."""
        loss = GammaCE(0.1, from_logits=True, reduction=reduction)

        def total(*x):
            with keras.StatelessScope([(loss.gamma.variable, gamma)]):
                found = linear_loss(loss, y, *x, chunk_size=4)
            return found.mean()

        return total

    def scanned(f):
        def total(*x):
            return jax.lax.scan(lambda s, _: (s + f(*x), None), 0.0, None, 1)[0]

        return total

    def conditional(f):
        return lambda *x: jax.lax.cond(
            x[0].sum() < 1e9, f, lambda *x: 0.0 * x[0][0, 0], *x
        )

    def gradients(gamma, reduction):
        f = of(gamma, reduction)
        every = [f, jax.jit(f), jax.checkpoint(f), scanned(f), conditional(f)]
        return [jax.grad(g, (0, 1, 2))(*given) for g in every]

    for reduction in ("sum_over_batch_size", None):
        with compiling(True):
            found = jax.jit(gradients, static_argnums=1)(0.6, reduction)
        loss = GammaCE(0.6, from_logits=True)
        expected = step(lambda *x: dense(loss, y, *x), *given)[1:]  # noqa: B023
        for each in found:
            assert_same(each, expected)


@jax_only
def test_the_gradient_in_gamma():
    import jax

    y, *given = arrays()

    def of(function):
        loss = GammaCE(0.1, from_logits=True)

        def total(gamma):
            with keras.StatelessScope([(loss.gamma.variable, gamma)]):
                return function(loss, y, *given)

        return jax.grad(total)(0.3)

    np.testing.assert_allclose(of(linear_loss), of(dense), rtol=1e-5)


def _products(jaxpr):
    """Returns how many products of matrices a JAX program holds, in loops too."""
    import jax.extend

    found = 0
    for eqn in jaxpr.eqns:
        found += eqn.primitive.name == "dot_general"
        found += sum(map(_products, jax.extend.core.jaxprs_in_params(eqn.params)))
    return found


@jax_only
def test_no_product_is_computed_twice():
    import jax

    y, *given = arrays()
    loss = GammaCE(0.1, from_logits=True)

    def f(*x):
        return linear_loss(loss, y, *x, chunk_size=4)

    def products(function):
        return _products(jax.make_jaxpr(function)(*given).jaxpr)

    with compiling(True):
        assert products(f) == 1
        assert products(jax.grad(f, (0, 1, 2))) == 3


@tensorflow_only
def test_a_loss_without_a_tape_computes_no_gradient():
    import tensorflow as tf

    y, *given = arrays()
    loss = GammaCE(0.1, from_logits=True)

    def f(*x):
        return linear_loss(loss, y, *x, chunk_size=4)

    def products(function):
        graph = tf.function(function).get_concrete_function(*given).graph
        definition = graph.as_graph_def()
        nodes = [n for f in definition.library.function for n in f.node_def]
        return sum(node.op == "MatMul" for node in [*definition.node, *nodes])

    assert products(f) == 1
    assert products(lambda *x: step(f, *x)) == 3


@tensorflow_only
def test_a_tape_around_a_compiled_loss():
    """The loss is traced before it is known that a gradient follows."""
    import tensorflow as tf

    y, *given = arrays()
    loss = GammaCE(0.1, from_logits=True)
    compiled = tf.function(lambda *x: linear_loss(loss, y, *x, chunk_size=4))
    assert_same(step(compiled, *given), step(lambda *x: dense(loss, y, *x), *given))


def _resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if name in line)


def _memory(function, y, *x):
    """Returns the bytes that value and gradients take beside their arguments."""
    if BACKEND == "jax":
        import jax

        compiled = jax.jit(jax.value_and_grad(function, (1, 2))).lower(y, *x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def run(y, *x):
        return step(functools.partial(function, y), *x)

    if BACKEND == "tensorflow":
        import tensorflow as tf

        some = tf.TensorSpec((None,), "int32"), tf.TensorSpec((None, x[0].shape[1]))
        run = tf.function(run, (*some, tf.TensorSpec(x[1].shape)))
    run(y[:8], x[0][:8], x[1])
    set_threshold = functools.partial(ctypes.CDLL(None).mallopt, -3)
    set_threshold(2**20)  # larger blocks go back to the system at once
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _resident("VmRSS")
    run(y, *x)
    set_threshold(2**25)
    return _resident("VmHWM") - before


def memories():
    """Returns the bytes of the logits, of a head in chunks, and of one of all rows."""
    tokens, vocabulary = 4096, 32000
    rng = np.random.default_rng(0)
    loss = GammaCE(0.1, from_logits=True)
    y = ops.convert_to_tensor(rng.integers(0, vocabulary, tokens), "int32")
    shapes = (tokens, 16), (16, vocabulary)
    x = [ops.convert_to_tensor(rng.random(s, "float32")) for s in shapes]
    with compiling(True):
        chunked = _memory(lambda *x: linear_loss(loss, *x), y, *x)
        at_once = _memory(lambda *x: dense(loss, *x), y, *x)
    return 4 * tokens * vocabulary, chunked, at_once


@pytest.mark.slow
def test_the_logits_of_all_tokens_never_exist():
    if BACKEND == "torch" and os.environ["CUDA_VISIBLE_DEVICES"]:
        pytest.skip("the memory of a process is not that of its GPU")
    if BACKEND == "jax":
        logits, chunked, at_once = memories()
    else:  # a process that has run other tests keeps what it once took
        code = "from tests.losses.test_linear import memories; print(*memories())"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        logits, chunked, at_once = map(int, done.stdout.split()[-3:])
    assert chunked < logits / 4
    assert at_once > logits


WRONG = {
    "probabilities": (lambda: GammaCE(0.1), {}, "from_logits=True"),
    "axis": (lambda: GammaCE(0.1, from_logits=True, axis=1), {}, "axis=-1"),
    "batch": (lambda: losses.HardNegativeCE(from_logits=True), {}, "no other sample"),
    "binary": (lambda: losses.GammaBCE(0.1, from_logits=True), {}, "one label of K"),
    "function": (lambda: losses.gamma_ce, {}, "one label of K"),
    "kernel": (None, {"kernel": np.ones((K, D))}, "transpose=False"),
    "transpose": (None, {"transpose": True}, "transpose=True"),
    "bias": (None, {"bias": np.ones(D)}, r"bias.shape=\(4,\)"),
    "rank": (None, {"hidden": np.ones(D)}, r"hidden.shape=\(4,\)"),
    "labels": (None, {"y_true": np.zeros((3, N))}, "integer labels"),
    "targets": (None, {"y_true": np.ones((N, K))}, "as large as the logits"),
    "weights": (None, {"sample_weight": np.ones(3)}, "sample_weight"),
    "chunk": (None, {"chunk_size": 0}, "chunk_size"),
    "cap": (None, {"logit_soft_cap": -1.0}, "logit_soft_cap"),
    "z": (None, {"z_loss": -1.0}, "z_loss"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_named(name):
    make, wrong, message = WRONG[name]
    loss = make() if make else GammaCE(0.1, from_logits=True)
    given = dict(zip(("y_true", "hidden", "kernel", "bias"), arrays(), strict=True))
    with pytest.raises(ValueError, match=message):
        linear_loss(loss, **{**given, **wrong})
