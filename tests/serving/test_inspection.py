"""What is read off a graph."""

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
    "name, function, problem",
    [
        ("scalar", lambda x: tf.reduce_sum(x), "has no batch axis: its shape is ()"),
        ("row", lambda x: tf.reduce_sum(x, 0), "has no batch axis: its shape is (3,)"),
        ("bfloat16", lambda x: tf.cast(x, tf.bfloat16), "is bfloat16"),
        ("half", lambda x: tf.cast(x, tf.float16), "is float16"),
        ("uniform", lambda x: x + tf.random.uniform((3,)), "RandomUniform draws"),
        (
            "stateless",
            lambda x: x + tf.random.stateless_normal((3,), (1, 2)),
            "StatelessRandomNormalV2 draws",
        ),
        (
            "hidden",
            lambda x: tf.map_fn(lambda r: r + tf.random.normal((3,)), x),
            "RandomStandardNormal draws",
        ),
        ("choice", lambda x: tf.random.categorical(x, 1), "Multinomial draws"),
        ("python", lambda x: {"y": tf.py_function(tf.abs, [x], tf.float32)}, "Python"),
        (
            "numpy",
            lambda x: {"y": tf.numpy_function(abs, [x], tf.float32)},
            "runs Python",
        ),
    ],
)
def test_problems_are_named(tmp_path, name, function, problem):
    assert any(problem in found for found in problems(save(tmp_path, function, X)))


def test_functions_for_xla_only(tmp_path):
    compiled = tf.function(lambda x: x * 2.0, jit_compile=True)
    found = problems(save(tmp_path, lambda x: compiled(x), X))
    assert any("must be compiled by XLA" in problem for problem in found)


def test_ops_that_no_server_has(tmp_path):
    """As a graph with a custom op looks like, from whatever library it came."""
    file = save(tmp_path, lambda x: tf.abs(x), X) / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"Abs", b"Xbs"))  # of the same length
    assert problems(tmp_path) == [
        "op Xbs is not one of TensorFlow's: a server lacks it"
    ]


def test_a_problem_is_said_once(tmp_path):
    def function(x):
        for _ in range(5):
            x = x + tf.random.normal((3,))
        return x

    assert len(problems(save(tmp_path, function, X))) == 1
