"""Claims of the guides that no code block on their pages shows."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest

import keras_calib as kc
from keras_calib.calibrators import NoiseCorrection
from tests.calibrators.data import newsgroups

K, NOISE = 10, 0.3


@pytest.fixture(scope="module")
def calibrated():
    """Returns logits with a calibrated softmax, clean labels and noisy labels."""
    rng = np.random.default_rng(0)
    z = 2.0 * rng.normal(size=(20000, K))
    clean = (z + rng.gumbel(size=z.shape)).argmax(-1)
    redrawn = rng.random(20000) < NOISE
    return z, clean, np.where(redrawn, rng.integers(0, K, 20000), clean)


def figures(y, p):
    found = kc.evaluate(y, p, verbose=False)
    names = ("negative_log_likelihood", "ece", "calibration_gap", "accuracy")
    return [float(found[name]) for name in names]


def test_how_far_a_sample_of_300_labels_tells_their_noise():
    """label_noise.md: if 30 of 300 differ, the interval is about 0.07 to 0.14."""
    interval = binomtest(30, 300).proportion_ci()
    assert [round(x, 2) for x in interval] == [0.07, 0.14]


def test_noisy_labels_reward_doubt_and_rank_by_accuracy(calibrated):
    """label_noise.md and annealing_gamma.md.

    One model has the right probabilities, another mixes the noise into them. NLL, ECE
    and gap prefer the first on clean labels and the second on noisy labels. Noise only
    compresses accuracy, to (1 - noise) times its value, plus noise / K.
    """
    z, clean, noisy = calibrated
    p = softmax(z, -1)
    doubting = (1 - NOISE) * p + NOISE / K
    for y, better, worse in ((clean, p, doubting), (noisy, doubting, p)):
        for good, bad in zip(
            figures(y, better)[:3], figures(y, worse)[:3], strict=True
        ):
            assert abs(good) < abs(bad)
    of_clean, of_noisy = (figures(y, p)[3] for y in (clean, noisy))
    assert of_noisy == pytest.approx((1 - NOISE) * of_clean + NOISE / K, abs=0.01)
    # Noisy labels make the right model look overconfident: AdaptiveGamma lowers gamma.
    assert figures(noisy, p)[2] > 0.1 > 0.02 > abs(figures(clean, p)[2])


def test_a_temperature_fitted_to_noisy_labels_doubts(calibrated):
    """label_noise.md and post_hoc_calibration.md."""
    z, clean, noisy = calibrated
    assert kc.TemperatureScaling().fit(z, clean).temperature == pytest.approx(
        1, abs=0.02
    )
    assert kc.TemperatureScaling().fit(z, noisy).temperature > 1.5


def test_exact_zeros_count_as_they_are_read():
    """post_hoc_calibration.md, on 20 Newsgroups from cleanlab/label-errors."""
    p, y = newsgroups()
    assert np.mean(p == 0) == pytest.approx(0.74, abs=0.005)
    assert np.mean(p[np.arange(len(y)), y] == 0) == pytest.approx(0.008, abs=5e-4)
    for given, expected in (({"min_probability": 1e-7}, 0.627), ({}, 1.42)):
        layer = kc.TemperatureScaling(from_logits=False, dtype="float64", **given)
        assert layer.fit(p, y).temperature == pytest.approx(expected, abs=5e-3)


def test_the_inverse_correction_takes_noise_out_of_right_noisy_probabilities():
    """label_noise.md: from the probabilities of noisy labels to those of clean ones."""
    p = np.random.default_rng(0).dirichlet(np.ones(K), 50)
    noisy = (1 - NOISE) * p + NOISE / K
    gamma = kc.noise_matched_gamma(NOISE, K)
    inverse = NoiseCorrection(gamma, inverse=True, from_logits=False, dtype="float64")
    np.testing.assert_allclose(np.asarray(inverse(noisy)), p, atol=1e-12)


def test_logits_keep_what_a_softmax_in_half_precision_rounds_away():
    """language_models.md: in float16 the probability becomes 0, its logit does not."""
    z = np.array([[-20.0, 0.0]], "float32")
    half = softmax(z.astype("float16"), -1).astype("float16")
    assert half[0, 0] == 0
    assert float(kc.GammaCE(0.0, from_logits=True)([0], z)) == pytest.approx(
        20, abs=1e-5
    )


def test_what_a_schedule_costs_was_measured():
    """annealing_gamma.md: the ratios of its table are rows of the benchmarks."""
    root = Path(__file__).parents[2]
    guide = (root / "docs/guides/annealing_gamma.md").read_text(encoding="utf-8")
    measured = (root / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    shown = re.findall(
        r"^\| by step: .+? \| .+? \| (.+?) \| (.+?) \| (.+?) \|$", guide, re.MULTILINE
    )
    steps = ("MLP, fit, steps of 1.3 ms", "transformer, fit, steps of 5.2 ms")
    assert shown == [
        tuple(
            re.search(rf"^gamma by {what}, {step} +([\d.]+)", measured, re.MULTILINE)[1]
            for step in (*steps, "transformer, fit, steps of 19.6 ms")
        )
        for what in ("a schedule", "a Python function")
    ]
