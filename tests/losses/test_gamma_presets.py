"""The published settings."""

import numpy as np

from keras_calib import gamma_presets
from tests.losses.tools import value_and_gradient


def test_presets_are_the_official_scripts():
    assert {
        name: (p.gamma, p.floor, p.label_smoothing)
        for name, p in gamma_presets().items()
    } == {
        "synthetic": (1e-7, 0.2, 0.0),
        "iwslt14": (0.1, 0.3, 0.1),
        "gigaword": (0.8, 0.2, 0.1),
        "writingprompts": (1e-7, 0.2, 0.0),
        "dft": (1.0, 0.0, 0.0),
    }
    loss = gamma_presets()["gigaword"].loss(label_smoothing=0.0, name="mine")
    assert (float(loss.gamma), loss.floor, loss.label_smoothing) == (0.8, 0.2, 0.0)
    assert loss.name == "mine"


def test_dft_is_the_formula_of_its_article():
    """-stop_gradient(p) log p, whose gradient in the logits is p (p_k - 1[k = y])."""
    z, y = np.random.default_rng(0).normal(0, 2, (6, 5)), np.arange(6) % 5
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    of_label = p[np.arange(6), y]
    loss = gamma_presets()["dft"].loss(
        from_logits=True, dtype="float64", reduction="sum"
    )
    value, gradient = value_and_gradient(loss, y, z, "float64")
    np.testing.assert_allclose(value, (-of_label * np.log(of_label)).sum(), rtol=1e-12)
    expected = of_label[:, None] * (p - np.eye(5)[y])
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-16)
