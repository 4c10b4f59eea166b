"""The published settings."""

from keras_calib import gamma_presets


def test_presets_are_the_official_scripts():
    assert {
        name: (p.gamma, p.floor, p.label_smoothing)
        for name, p in gamma_presets().items()
    } == {
        "synthetic": (1e-7, 0.2, 0.0),
        "iwslt14": (0.1, 0.3, 0.1),
        "gigaword": (0.8, 0.2, 0.1),
        "writingprompts": (1e-7, 0.2, 0.0),
    }
    loss = gamma_presets()["gigaword"].loss(label_smoothing=0.0, name="mine")
    assert (float(loss.gamma), loss.floor, loss.label_smoothing) == (0.8, 0.2, 0.0)
    assert loss.name == "mine"
