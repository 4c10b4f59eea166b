"""Label smoothing: its two conventions, their figures, their map."""

import keras
import numpy as np
import pytest

from keras_calib import LabelSmoothingCE
from tests.backends import tensorflow_only
from tests.losses import exact
from tests.losses.tools import per_sample, value_and_gradient

# The notes' example: a model that is confident in class 2.
Z, Y = np.array([[-1.5, 0.5, 5.0, -0.5]]), [2]
V4 = np.array([[1.0, 2.0, 0.5, -1.0]])


def make(label_smoothing, convention="uniform", **kwargs):
    kwargs = {"from_logits": True, "dtype": "float64", **kwargs}
    return LabelSmoothingCE(label_smoothing, convention, **kwargs)


@pytest.mark.parametrize(
    ("epsilon", "convention", "expected"),
    [
        (0.0, "uniform", 0.016561308491144),
        (0.0, "others", 0.016561308491144),
        (0.1, "others", 0.566561308491144),
        (0.1, "uniform", 0.429061308491144),
    ],
)
def test_reference_values(epsilon, convention, expected):
    loss = make(epsilon, convention)
    assert float(loss(Y, Z)) == pytest.approx(expected, abs=2e-15)


def test_reference_values_v4():
    assert float(make(0.1)([0], V4)) == pytest.approx(1.532681898085856, abs=1e-15)
    others = float(make(0.1, "others")([0], V4))
    assert others == pytest.approx(1.545181898085856, abs=1e-15)


def test_reference_gradient():
    _, gradient = value_and_gradient(make(0.1, "others"), Y, Z, "float64")
    np.testing.assert_allclose(
        gradient[0], [-0.0319, -0.0224, 0.0836, -0.0293], atol=5e-5
    )


def test_uniform_is_keras_own():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(9, 6)), rng.integers(0, 6, 9)
    keras_loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.2, dtype="float64"
    )
    expected = float(keras_loss(np.eye(6)[y], z))
    assert float(make(0.2)(y, z)) == pytest.approx(expected, rel=1e-13)


def test_gradient_is_p_minus_target():
    z = np.array([[0.3, -1.0, 2.0, 0.5, 0.0]])
    p = np.exp(z) / np.exp(z).sum()
    for convention, target in (
        ("uniform", [0.02, 0.92, 0.02, 0.02, 0.02]),
        ("others", [0.025, 0.9, 0.025, 0.025, 0.025]),
    ):
        _, gradient = value_and_gradient(make(0.1, convention), [1], z, "float64")
        np.testing.assert_allclose(gradient, p - target, atol=1e-16)


@pytest.mark.parametrize("convention", ["uniform", "others"])
@pytest.mark.parametrize("num_classes", exact.NUM_CLASSES)
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-6), ("float64", 1e-12)])
def test_values_are_exact(dtype, rtol, num_classes, convention):
    case, epsilon, mp = exact.case(num_classes), 0.1, exact.mp
    expected = []
    for z, y, p, q in zip(case.logits, case.labels, case.p, case.q, strict=True):
        log_p = -exact.minus_log(p, q)
        # log p_j = log p_y + z_j - z_y
        total = mp.fsum(log_p + mp.mpf(a) - mp.mpf(z[y]) for a in z)
        if convention == "uniform":
            value = -(1 - epsilon) * log_p - epsilon / num_classes * total
        else:
            share = epsilon / (num_classes - 1)
            value = -(1 - epsilon) * log_p - share * (total - log_p)
        expected.append(float(value))
    loss = make(epsilon, convention, dtype=dtype)
    got = per_sample(loss, case.labels, case.logits)
    np.testing.assert_allclose(got, expected, rtol=rtol)


@tensorflow_only
def test_no_one_hot_is_made_for_integer_labels():
    import tensorflow as tf

    loss = make(0.1, dtype="float32")

    @tf.function
    def step(y, z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z)
        return tape.gradient(value, z)

    graph = step.get_concrete_function(
        tf.TensorSpec([32], tf.int32), tf.TensorSpec([32, 100], tf.float32)
    ).graph
    assert "OneHot" not in {op.type for op in graph.get_operations()}


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"smoothing` .*\[0, 1\]. Received: 1.5"):
        LabelSmoothingCE(1.5)
    with pytest.raises(ValueError, match="'uniform', 'others'. Received: 'both'"):
        LabelSmoothingCE(0.1, "both")
    with pytest.raises(ValueError, match=r"smoothing` must be a number in \[0, 0.5\]"):
        make(0.6, "others")([0], [[1.0, 2.0]])
