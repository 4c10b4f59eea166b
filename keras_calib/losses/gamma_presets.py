"""Which gamma: for a known rate of label noise, and as published."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from keras_calib.arguments import in_range
from keras_calib.losses.gamma import GammaCE
from keras_calib.ops.gamma import STANDSTILL


def noise_matched_gamma(noise_rate: float, num_classes: int) -> float:
    """Returns the gamma whose loss recovers the clean posterior from noisy labels.

    Formula, where a share eta of the labels is redrawn at random among all K
    classes:

    ```
    gamma = eta / (K - (K - 1) * eta)
    ```

    Gamma-cross-entropy is then cross-entropy behind that noise (forward correction,
    Patrini et al., "Making Deep Neural Networks Robust to Label Noise", CVPR 2017).

    Args:
        noise_rate: eta in [0, 1]. A label that is redrawn may come out right: a
            share eta (K - 1) / K is wrong.
        num_classes: K, at least 2.

    Raises:
        ValueError: for arguments out of range.

    Example:

    >>> import keras_calib
    >>> round(keras_calib.noise_matched_gamma(0.4, 10), 6)
    0.0625
    """
    eta = in_range("noise_rate", noise_rate, 0.0, 1.0)
    k = in_range("num_classes", num_classes, 2, float("inf"))
    return eta / (k - (k - 1) * eta)


def gamma_matched_noise(gamma: float, num_classes: int) -> float:
    """Returns the rate of label noise that a gamma matches.

    Formula, the inverse of `noise_matched_gamma`:

    ```
    eta = K * gamma / (1 + (K - 1) * gamma)
    ```

    Args:
        gamma: in [0, 1].
        num_classes: K, at least 2.

    Raises:
        ValueError: for arguments out of range.

    Example:

    >>> import keras_calib
    >>> round(keras_calib.gamma_matched_noise(0.1, 10), 6)
    0.526316
    """
    gamma = in_range("gamma", gamma, 0.0, 1.0)
    k = in_range("num_classes", num_classes, 2, float("inf"))
    return k * gamma / (1 + (k - 1) * gamma)


def starting_weight(gamma: float, num_classes: int, floor: float = 0.0) -> float:
    """Returns what a sample weighs for a model that knows nothing, p = 1 / K.

    Formula:

    ```
    w = max(floor, 1 / (1 + (K - 1) * gamma))
    ```

    Args:
        gamma: in [0, 1].
        num_classes: K, at least 2.
        floor: in [0, 1], the least weight.

    Raises:
        ValueError: for arguments out of range.

    Warns:
        UserWarning: for a weight below 0.01: trained from scratch, the model may
            stand still.

    Example:

    >>> import keras_calib
    >>> round(keras_calib.starting_weight(0.1, 10), 6)
    0.526316
    """
    gamma = in_range("gamma", gamma, 0.0, 1.0)
    k = in_range("num_classes", num_classes, 2, float("inf"))
    weight = max(in_range("floor", floor, 0.0, 1.0), 1 / (1 + (k - 1) * gamma))
    if weight < STANDSTILL:
        warnings.warn(
            f"gamma={gamma:g} is large beside 1/{k:g}: at p = 1/{k:g} a sample "
            f"weighs {weight:.1e} and training from scratch may stand still. Anneal "
            "gamma up with GammaScheduler, set a floor, or start from a trained model",
            stacklevel=2,
        )
    return weight


class GammaPreset(NamedTuple):
    """A published setting of gamma-cross-entropy.

    Attributes:
        gamma: the gamma.
        floor: the least weight of a token.
        label_smoothing: the epsilon of the uniform term.
        task: what was trained, and from what.
        source: the file that says so.
    """

    gamma: float
    floor: float
    label_smoothing: float
    task: str
    source: str

    def loss(self, **kwargs: Any) -> GammaCE:
        """Returns the loss; keyword arguments are those of `GammaCE`."""
        settings = {
            "gamma": self.gamma,
            "floor": self.floor,
            "label_smoothing": self.label_smoothing,
        }
        return GammaCE(**{**settings, **kwargs})


def gamma_presets() -> dict[str, GammaPreset]:
    """Returns the settings of the official scripts, by data set.

    They were tuned for text generation, each on its own data, and follow no rule:
    the one trained from scratch (IWSLT14) has a large gamma and a high floor, and a
    fine-tuned one (WritingPrompts) the smallest gamma. For classification with
    noisy labels start at `noise_matched_gamma`.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.gamma_presets()["iwslt14"].loss(from_logits=True)
    >>> float(loss.gamma), loss.floor, loss.label_smoothing
    (0.1, 0.3, 0.1)

    Reference:

    - Ji et al., "Tailoring Language Generation Models under Total Variation
      Distance", ICLR 2023, [arXiv:2302.13344](https://arxiv.org/abs/2302.13344);
      its repository, github.com/thu-coai/TaiLr, examples.
    """
    source = "github.com/thu-coai/TaiLr, examples/{}/train_tailr.sh"
    return {
        "synthetic": GammaPreset(
            1e-7, 0.2, 0.0, "synthetic text", source.format("synthetic")
        ),
        "iwslt14": GammaPreset(
            0.1, 0.3, 0.1, "translation, from scratch", source.format("iwslt14")
        ),
        "gigaword": GammaPreset(0.8, 0.2, 0.1, "summaries", source.format("gigaword")),
        "writingprompts": GammaPreset(
            1e-7, 0.2, 0.0, "stories, BART fine-tuned", source.format("writingprompts")
        ),
    }
