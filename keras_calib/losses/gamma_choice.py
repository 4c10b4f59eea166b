"""Which gamma matches the label noise, and which can start training."""

import warnings

from keras_calib.arguments import in_range, whole_number
from keras_calib.ops.gamma import STANDSTILL

__all__ = ["gamma_matched_noise", "noise_matched_gamma", "starting_weight"]


def noise_matched_gamma(noise_rate: float, num_classes: int) -> float:
    """Returns the gamma whose loss recovers the clean posterior from noisy labels.

    Formula, if a fraction eta of the labels is redrawn at random among all K classes:

    ```
    gamma = eta / (K - (K - 1) * eta)
    ```

    Gamma-cross-entropy is then cross-entropy through that noise (forward correction,
    Patrini et al., "Making Deep Neural Networks Robust to Label Noise", CVPR 2017).

    Args:
        noise_rate: eta in [0, 1]. A redrawn label may be right: a fraction
            eta (K - 1) / K is wrong.
        num_classes: K, at least 2.

    Raises:
        ValueError: for arguments out of range.

    Example:

    >>> import keras_calib
    >>> round(keras_calib.noise_matched_gamma(0.4, 10), 6)
    0.0625
    """
    eta = in_range("noise_rate", noise_rate, 0.0, 1.0)
    k = whole_number("num_classes", num_classes, low=2)
    return eta / (k - (k - 1) * eta)


def gamma_matched_noise(gamma: float, num_classes: int) -> float:
    """Returns the rate of label noise that a gamma matches.

    Formula, the inverse of `noise_matched_gamma`:

    ```
    eta = K * gamma / (1 + (K - 1) * gamma)
    ```

    Args:
        gamma: number in [0, 1].
        num_classes: K, at least 2.

    Raises:
        ValueError: for arguments out of range.

    Example:

    >>> import keras_calib
    >>> round(keras_calib.gamma_matched_noise(0.1, 10), 6)
    0.526316
    """
    gamma = in_range("gamma", gamma, 0.0, 1.0)
    k = whole_number("num_classes", num_classes, low=2)
    return k * gamma / (1 + (k - 1) * gamma)


def starting_weight(gamma: float, num_classes: int, floor: float = 0.0) -> float:
    """Returns the weight of a sample in an untrained model, where p = 1 / K.

    Formula:

    ```
    w = max(floor, 1 / (1 + (K - 1) * gamma))
    ```

    Args:
        gamma: number in [0, 1].
        num_classes: K, at least 2.
        floor: the smallest weight, in [0, 1].

    Raises:
        ValueError: for arguments out of range.

    Warns:
        UserWarning: for a weight below 0.01: a model that is trained from scratch may
            not start to learn.

    Example:

    >>> import keras_calib
    >>> round(keras_calib.starting_weight(0.1, 10), 6)
    0.526316
    """
    gamma = in_range("gamma", gamma, 0.0, 1.0)
    k = whole_number("num_classes", num_classes, low=2)
    weight = max(in_range("floor", floor, 0.0, 1.0), 1 / (1 + (k - 1) * gamma))
    if weight < STANDSTILL:
        warnings.warn(
            f"gamma={gamma:g} is large beside 1/{k}: the weight at p = 1/{k} is "
            f"{weight:.1e}, and training from scratch may stand still. Anneal gamma up "
            "with GammaScheduler, set a floor, or start from a trained model",
            stacklevel=2,
        )
    return weight
