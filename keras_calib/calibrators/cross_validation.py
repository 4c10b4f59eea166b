"""The choice among calibrators by cross-validation."""

from collections.abc import Mapping

import keras
import numpy as np

from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.objectives import nll
from keras_calib.calibrators.samples import Samples


def cross_validate(
    candidates: Mapping[str, type[Calibrator]],
    samples: Samples,
    folds: int,
    seed: int,
    verbose: int,
) -> dict[str, float]:
    """Returns the held-out mean negative log-likelihood of each candidate."""
    fold = np.random.default_rng(seed).permutation(len(samples)) % folds
    bar = keras.utils.Progbar(folds * len(candidates), verbose=verbose, unit_name="fit")
    found = dict.fromkeys(candidates, 0.0)
    for i in range(folds):
        # By its share of the weight, so that the folds add up to the overall mean.
        share = samples.weight[fold == i].sum()
        train, test = samples[fold != i], samples[fold == i]
        for name, cls in candidates.items():
            calibrator = cls(dtype="float64").fit_samples(train)
            found[name] += share * nll(test, calibrator.probabilities)
            bar.add(1)
    return found
