"""`problems` finds in a graph what a server cannot run."""

import pytest
import tensorflow as tf

from keras_calib.serving.inspection import problems


def save(path, function, *specs):
    module = tf.Module()
    module.function = tf.function(function)
    signature = module.function.get_concrete_function(*specs)
    tf.saved_model.save(module, str(path), {"serving_default": signature})
    return path


X = tf.TensorSpec((None, 3), tf.float32, "x")


def test_nothing_is_wrong_with_a_plain_function(tmp_path):
    assert problems(save(tmp_path, lambda x: {"y": x * 2.0}, X)) == []


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda x: tf.reduce_sum(x), "has no batch axis: its shape is ()"),
        (lambda x: tf.reduce_sum(x, 0), "has no batch axis: its shape is (3,)"),
        (lambda x: tf.cast(x, tf.bfloat16), "is bfloat16"),
        (lambda x: tf.cast(x, tf.float16), "is float16"),
        (lambda x: x + tf.random.uniform((3,)), "RandomUniform draws"),
        (
            lambda x: x + tf.random.stateless_normal((3,), (1, 2)),
            "StatelessRandomNormalV2 draws",
        ),
        (
            lambda x: tf.map_fn(lambda r: r + tf.random.normal((3,)), x),
            "RandomStandardNormal draws",
        ),
        (lambda x: tf.random.categorical(x, 1), "Multinomial draws"),
        (lambda x: {"y": tf.py_function(tf.abs, [x], tf.float32)}, "runs Python"),
        (lambda x: {"y": tf.numpy_function(abs, [x], tf.float32)}, "runs Python"),
    ],
    ids=[
        *("scalar", "row", "bfloat16", "float16", "uniform", "stateless", "in a loop"),
        *("categorical", "py_function", "numpy_function"),
    ],
)
def test_problems_are_named(tmp_path, function, problem):
    assert any(problem in found for found in problems(save(tmp_path, function, X)))


def test_functions_for_xla_only(tmp_path):
    compiled = tf.function(lambda x: x * 2.0, jit_compile=True)
    found = problems(save(tmp_path, lambda x: compiled(x), X))
    assert any("must be compiled by XLA" in problem for problem in found)


def test_ops_that_no_server_has(tmp_path):
    """The graph looks like one with a custom op, from any library."""
    file = save(tmp_path, lambda x: tf.abs(x), X) / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"Abs", b"Xbs"))  # of the same length
    assert problems(tmp_path) == [
        "op Xbs is not one of TensorFlow's: a server lacks it"
    ]


def test_a_problem_is_reported_once(tmp_path):
    def function(x):
        for _ in range(5):
            x = x + tf.random.normal((3,))
        return x

    assert len(problems(save(tmp_path, function, X))) == 1
