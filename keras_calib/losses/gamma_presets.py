"""Published settings of gamma-cross-entropy."""

from typing import Any, NamedTuple

from keras_calib.losses.gamma import Formulation, GammaCE

__all__ = ["GammaPreset", "gamma_presets"]


class GammaPreset(NamedTuple):
    """A published setting of gamma-cross-entropy.

    Attributes:
        gamma: the gamma.
        floor: the smallest weight of a token.
        label_smoothing: the weight of the uniform term.
        task: the task, and the model that was trained.
        source: the file or the article that contains the setting.
        formulation: that of `GammaCE`.
    """

    gamma: float
    floor: float
    label_smoothing: float
    task: str
    source: str
    formulation: Formulation = "closed"

    def loss(self, **kwargs: Any) -> GammaCE:
        """Returns the loss; keyword arguments are those of `GammaCE`."""
        names = "gamma", "floor", "label_smoothing", "formulation"
        return GammaCE(**{**{name: getattr(self, name) for name in names}, **kwargs})


def gamma_presets() -> dict[str, GammaPreset]:
    """Returns published settings by name.

    Those of the official scripts, by data set, were tuned for text generation and
    follow no rule: the model trained from scratch (IWSLT14) has a large gamma and a
    high floor, and a fine-tuned one (WritingPrompts) the smallest gamma. `"dft"` is
    Dynamic Fine-Tuning, -stop_gradient(p) log p, in these terms. For classification
    with noisy labels start with `noise_matched_gamma`.

    Example:

    >>> import keras_calib
    >>> loss = keras_calib.gamma_presets()["iwslt14"].loss(from_logits=True)
    >>> float(loss.gamma), loss.floor, loss.label_smoothing
    (0.1, 0.3, 0.1)

    References:

    - Ji et al., "Tailoring Language Generation Models under Total Variation
      Distance", ICLR 2023, [arXiv:2302.13344](https://arxiv.org/abs/2302.13344);
      its repository, github.com/thu-coai/TaiLr, examples.
    - "On the Generalization of SFT: A Reinforcement Learning Perspective with Reward
      Rectification", ICLR 2026, [arXiv:2508.05629](https://arxiv.org/abs/2508.05629):
      Dynamic Fine-Tuning.
    """
    settings = {
        "synthetic": (1e-7, 0.2, 0.0, "synthetic text"),
        "iwslt14": (0.1, 0.3, 0.1, "translation, from scratch"),
        "gigaword": (0.8, 0.2, 0.1, "summaries"),
        "writingprompts": (1e-7, 0.2, 0.0, "stories, BART fine-tuned"),
    }
    source = "github.com/thu-coai/TaiLr, examples/{}/train_tailr.sh"
    presets = {k: GammaPreset(*s, source.format(k)) for k, s in settings.items()}
    task, source = "language models, fine-tuned", "arXiv:2508.05629"
    dft = GammaPreset(1.0, 0.0, 0.0, task, source, "stop_gradient")
    return presets | {"dft": dft}
